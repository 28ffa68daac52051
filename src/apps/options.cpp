#include "apps/options.hpp"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/utf8.hpp"
#include "comm/wait.hpp"
#include "io/temporary_file.hpp"

namespace moesaic::apps {
namespace {

void require_range(const char* option, auto value, auto low, auto high) {
  if (!(value >= low && value <= high)) fail("--{} is {}, expected {} to {}", option, value, low, high);
}

po::typed_value<std::string>* choice(const char* option, std::string_view words, const char* fallback, auto&& take) {
  return po::value<std::string>()->default_value(fallback)->notifier([option, words, take](const std::string& word) {
    if (!take(word)) fail("--{} is '{}', expected {}", option, word, words);
  });
}

po::typed_value<int>* axis(std::optional<int>& into, const char* option) {
  return po::value<int>()->notifier([&into, option](int value) {
    require_range(option, value, 1, 1 << 20);
    into = value;
  });
}

bool same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto whole = [&](const fs::path& path) { return fs::weakly_canonical(fs::absolute(path, ignored), ignored); };
  return fs::equivalent(a, b, ignored) || whole(a) == whole(b);
}

}  // namespace

template <class T>
po::typed_value<T>* ranged(T* into, const char* option, T low, T high) {
  return po::value<T>(into)->notifier([option, low, high](T value) { require_range(option, value, low, high); });
}
template po::typed_value<int>* ranged(int*, const char*, int, int);
template po::typed_value<std::int64_t>* ranged(std::int64_t*, const char*, std::int64_t, std::int64_t);
template po::typed_value<float>* ranged(float*, const char*, float, float);

po::options_description layout_options(plan::LayoutRequest& request) {
  po::options_description options("layout (ranks = pp*dp*tp = pp*ep*etp; what is not given is chosen)");
  // clang-format off
  options.add_options()
      ("pp", axis(request.pp, "pp"), "pipeline stages, 1 to the number of layers")
      ("dp", axis(request.dp, "dp"), "data-parallel attention groups")
      ("tp", axis(request.tp, "tp"), "attention shards of a group, at most the kv heads")
      ("ep", axis(request.ep, "ep"), "expert subsets, 1 to the number of experts")
      ("etp", axis(request.etp, "etp"), "slices of an expert, 1 to 8");
  // clang-format on
  return options;
}

po::options_description dispatch_options(plan::DispatchRequest& request) {
  po::options_description options("dispatch and combine of the experts' rows; the result is the same");
  // clang-format off
  options.add_options()
      ("dispatch", choice("dispatch", "auto, flat, hier, agrs, dense or alltoallv", "auto", [&](const std::string& word) {
         request.algorithm = plan::dispatch_from(word);
         return request.algorithm || word == "auto";
       }), "flat: a message to each rank; hier: to each node, inside it through shared memory; agrs: all rows to all; dense: "
           "all ranks own all rows, only sums travel; alltoallv: MPI's; auto: chosen for each batch")
      ("node-ranks", ranged(&request.node_ranks, "node-ranks", 0, 1 << 20)->default_value(0),
       "ranks that hier takes for a node, in rank order; 0: those that share memory")
      ("machine", po::value(&request.machine),
       "what exchanges cost, for auto: a file of moesaic calibrate, or ordinary (default), cpu-zen4-ib-hdr, h100-node, h200-node");
  // clang-format on
  return options;
}

po::options_description payload_options(DispatchPayload& payload) {
  po::options_description options("experiment that changes the result (docs/numerics.md)");
  // clang-format off
  options.add_options()
      ("dispatch-payload", choice("dispatch-payload", kDispatchPayloadOptions, "act", [&](const std::string& word) {
         const auto found = dispatch_payload_from(word);
         if (found) payload = *found;
         return found.has_value();
       }), "rows on their way to the experts: act, as the numeric mode holds them; int8: rounded to int8 with a scale a row, "
           "which w8a8 does anyway");
  // clang-format on
  return options;
}

po::options_description placement_options(plan::PlacementRequest& request) {
  po::options_description options("copies of experts that share their work; the result is the same");
  // clang-format off
  options.add_options()
      ("replicas", ranged(&request.replicas, "replicas", std::int64_t{0}, std::int64_t{1} << 20)->default_value(0),
       "copies of experts in each layer, shared out in turn: at most (ep-1) for each expert")
      ("placement", po::value(&request.file), "which experts each subset holds in each layer, a file of moesaic plan --from-trace");
  // clang-format on
  return options;
}

po::options_description model_options(ModelOptions& options, std::string* thread_list) {
  static const std::string isa_help = fmt::format("instruction path: {}", backend::kIsaOptions);
  po::options_description description("model");
  // clang-format off
  description.add_options()
      ("model", po::value(&options.store)->required(), "the store (moesaic convert makes one)")
      ("numerics", po::value<std::string>()->notifier([&](const std::string& word) {
         options.numerics = numerics_from(word);
         if (!options.numerics) fail("--numerics is '{}', expected {}", word, kNumericsOptions);
       }), "f32: exact reference, any weights; w8i16, w4i16: int8 or int4 weights, 16-bit integer activations, exact sums; w8a16, w16a16, w4a16: bf16 activations with int8, bf16, int4 weights, the default "
           "of each; w8a8: inputs of int8 weights as int8, faster and coarser")
      ("isa", po::value(&options.backend.isa)->default_value("auto"), isa_help.c_str())
      ("verify", choice("verify", "full, fast or off", "full", [&](const std::string& word) {
         const auto verify = io::verify_from(word);
         if (verify) options.verify = *verify;
         return verify.has_value();
       }), "how much of the weights is checked while loading: full, fast (samples) or off");
  // clang-format on
  if (thread_list)
    description.add_options()("threads", po::value(thread_list),
                              "threads of each rank, a list; default: as many as generate would use");
  else
    description.add_options()(
        "threads", ranged(&options.num_threads, "threads", 0, 4096)->default_value(0),
        "threads of each rank; 0: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK or the rank's share of the node");
  // clang-format off
  description.add_options()
      ("bind", choice("bind", host::kBindOptions, "auto", [&](const std::string& word) {
         const auto bind = host::bind_from(word);
         if (bind) options.bind = *bind;
         return bind.has_value();
       }), "each thread to a core: auto (inside an affinity mask; else when the ranks fill the node), none or cores (always)");
  // clang-format on
  description.add(layout_options(options.layout))
      .add(placement_options(options.placement))
      .add(dispatch_options(options.dispatch))
      .add(payload_options(options.dispatch.payload));
  return description;
}

namespace {

po::typed_value<int>* wait_timeout() {
  return po::value<int>()->notifier([](int seconds) {
    require_range("wait-timeout", seconds, 1, 1 << 20);
    comm::set_wait_timeouts({static_cast<double>(seconds), static_cast<double>(seconds)});
  });
}

}  // namespace

po::options_description wait_options(const char* defaults) {
  static std::string help;
  help = fmt::format("seconds that a rank waits for others before the job ends with a report; default: {}", defaults);
  po::options_description options("waiting");
  // clang-format off
  options.add_options()
      ("wait-timeout", wait_timeout(), help.c_str())
      ("wait-matrix", po::bool_switch()->notifier([](bool wanted) { if (wanted) comm::count_waits(); }),
       "prints at the end how long each rank has waited for which");
  // clang-format on
  return options;
}

void take_wait_timeout(const std::vector<std::string>& arguments) try {
  po::options_description options;
  options.add_options()("wait-timeout", wait_timeout());
  po::variables_map map;
  po::store(po::command_line_parser(arguments).options(options).style(kOptionStyle).allow_unregistered().run(), map);
  po::notify(map);
} catch (const std::exception&) {  // parse() will name what is wrong, once the ranks have met
}

po::options_description run_options(std::int64_t& prefill_chunk) {
  po::options_description options("run");
  // clang-format off
  options.add_options()
      ("prefill-chunk", ranged(&prefill_chunk, "prefill-chunk", std::int64_t{0}, std::int64_t{1} << 24)->default_value(512),
       "prompt tokens of a sequence that pass together; 0: the whole prompt");
  // clang-format on
  return options;
}

po::options_description overlap_options(std::int64_t& overlap_rows) {
  po::options_description options("overlap; the result is the same");
  // clang-format off
  options.add_options()
      ("two-batch-overlap", ranged(&overlap_rows, "two-batch-overlap", std::int64_t{0}, std::int64_t{1} << 24)->default_value(0),
       "steps of at least so many tokens are cut into two micro-batches, and one computes while the other's messages travel; 0: none");
  // clang-format on
  return options;
}

po::options_description kv_options(std::int64_t& kv_memory_mib) {
  po::options_description options("memory; the result is the same");
  // clang-format off
  options.add_options()
      ("kv-memory", ranged(&kv_memory_mib, "kv-memory", std::int64_t{1}, std::int64_t{1} << 30),
       "most memory of each rank's KV cache, MiB; default: most of what the weights leave");
  // clang-format on
  return options;
}

void check_stop_strings(const std::vector<std::string>& stop_strings) {
  for (const std::string& stop : stop_strings) {
    if (stop.empty()) fail("--stop is empty, expected a text");
    if (first_invalid_utf8(stop)) fail("--stop is not UTF-8, which all text is: it would never be met");
  }
}

po::options_description sampling_options(SamplingOptions& options) {
  static constexpr float kLargest = 1e6f, kSmallest = 1e-6f;
  po::options_description description("sampling, applied in this order");
  // clang-format off
  description.add_options()
      ("repetition-penalty", ranged(&options.repetition_penalty, "repetition-penalty", kSmallest, kLargest)->default_value(1),
       "positive logits / r, negative * r, for tokens already seen")
      ("temperature", po::value(&options.temperature)->default_value(0)->notifier([](float value) {
         if (value != 0 && !(value >= kSmallest && value <= kLargest))
           fail("--temperature is {}, expected 0, or {} to {}", value, kSmallest, kLargest);
       }), "0: always the likeliest token; else 1e-6 to 1e6")
      ("top-k", ranged(&options.top_k, "top-k", 0, std::numeric_limits<int>::max())->default_value(0),
       "keep the k likeliest tokens; 0: all")
      ("top-p", ranged(&options.top_p, "top-p", kSmallest, 1.0f)->default_value(1),
       "keep the smallest set with this probability")
      ("seed", seed(&options.seed, "0"), "of the random numbers, 0 to 2^64-1");
  // clang-format on
  return description;
}

po::typed_value<std::string>* seed(std::uint64_t* into, const char* fallback) {
  return po::value<std::string>()->default_value(fallback)->notifier([into](const std::string& text) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *into);
    if (error != std::errc() || end != text.data() + text.size())
      fail("--seed is '{}', expected 0 to {}", text, std::numeric_limits<std::uint64_t>::max());
  });
}

std::vector<std::int64_t> parse_list(const std::string& text, const char* option, std::int64_t low, std::int64_t high) {
  std::vector<std::int64_t> list;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data();; ++at) {
    std::int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || (next != end && *next != ',') || value < low || value > high)
      fail("--{} is '{}', expected integers from {} to {}, separated by commas", option, text, low, high);
    list.push_back(value);
    if (next == end) return list;
    at = next;
  }
}

void check_writable(const std::string& file, const char* option, const std::vector<std::string>& others) {
  if (file.empty()) return;
  const std::string given = (option[0] == '/' ? "" : "--") + std::string(option) + " " + file;
  const bool existed = std::filesystem::exists(file);
  if (existed && !std::filesystem::is_regular_file(file))
    fail("{}: is not a regular file; give the name of a file that may be replaced", given);
  for (const std::string& other : others)
    if (!other.empty() && same_file(file, other))
      fail("{}: is another file of this command too; give another name", given);
  std::ofstream stream(file, std::ios::app);
  if (!stream) fail("{}: cannot be written; is the directory there and writable?", given);
  stream.close();
  if (!existed) std::filesystem::remove(file);
}

void write_text(const std::string& file, const std::string& text) {
  io::TemporaryFile place(file);
  place.append(text);
  place.publish();
}

}  // namespace moesaic::apps
