#include <nlohmann/json.hpp>

#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/error.hpp"
#include "base/json_text.hpp"
#include "config/config_file.hpp"
#include "host/progress.hpp"
#include "host/thread_count.hpp"
#include "io/store_header.hpp"
#include "io/store_reader.hpp"

namespace moesaic::apps {
namespace {

using nlohmann::json;

struct InspectOptions {
  std::string store;
  bool tensors = false, verify = false, as_json = false;
};

json tensor_json(const io::StoredTensor& tensor) {
  const auto& spec = tensor.spec;
  return {{"name", spec.name},
          {"dtype", name(spec.dtype)},
          {"shape", spec.shape},
          {"offset_bytes", tensor.offset_bytes},
          {"size_bytes", spec.size_bytes()},
          {"num_pieces", spec.num_pieces()},
          {"piece_bytes", spec.piece_bytes()}};
}

void print_json(const InspectOptions& options, const io::StoreIndex& index, const std::vector<std::string>& wrong) {
  json root{{"path", options.store},
            {"version", io::store_version(index.format())},
            {"weights", name(index.format())},
            {"file_size_bytes", index.file_size_bytes},
            {"weight_bytes", index.weight_bytes()},
            {"config", to_json(index.config())},
            {"scale_groups", {{"attn_out", index.groups().attn_out}, {"moe_down", index.groups().moe_down}}},
            {"provenance", parse_json(index.provenance(), options.store)},
            {"tokenizer", nullptr}};
  if (index.tokenizer)
    root["tokenizer"] = {{"num_pieces", index.tokenizer->num_pieces},
                         {"size_bytes", index.tokenizer->extent.size_bytes},
                         {"hash", index.tokenizer->hash.hex()}};
  if (options.tensors)
    for (const auto& tensor : index.tensors()) root["tensors"].push_back(tensor_json(tensor));
  if (options.verify) root["verify"] = {{"sound", wrong.empty()}, {"wrong", wrong}};
  print(json_text(root, 2) + "\n");
}

std::string describe_format(const io::StoreIndex& index) {
  const std::string_view format = name(index.format());
  if (index.format() == WeightFormat::kInt8)
    return fmt::format("{}, input groups of the scales: attention {}, experts {}", format, index.groups().attn_out,
                       index.groups().moe_down);
  if (index.format() == WeightFormat::kInt4) return fmt::format("{}, a scale for {} inputs", format, kInt4GroupInputs);
  return std::string(format);
}

void print_summary(const std::string& path, const io::StoreIndex& index) {
  const ModelConfig& c = index.config();
  print("{}: Moesaic store, version {}, {}\n", path, io::store_version(index.format()),
        host::readable_bytes(index.file_size_bytes));
  print("  model       {} layers, width {}, {} query / {} key-value heads of {}, {} experts of width {}, top {}\n",
        c.num_layers, c.emb_size, c.num_q_heads, c.num_kv_heads, c.key_size, c.num_experts, c.ffn_size,
        c.num_selected_experts);
  print("  tokens      vocabulary {}, context {}, begin {}, end {}, padding {}\n", c.vocab_size, c.sequence_len,
        c.bos_token, c.eos_token, c.pad_token);
  print("  constants   embedding x {}, output x {}, attention x {}, cap {}, eps {}, rope base {}\n",
        c.arch.embedding_multiplier, c.arch.output_multiplier, c.arch.attn_output_multiplier, c.arch.attn_logit_cap,
        c.arch.rms_norm_eps, c.arch.rope_base);
  std::int64_t num_pieces = 0;
  for (const auto& tensor : index.tensors()) num_pieces += tensor.spec.num_pieces();
  print("  weights     {} in {} tensors, {} pieces; {}\n", host::readable_bytes(index.weight_bytes()),
        index.tensors().size(), num_pieces, describe_format(index));
  if (index.tokenizer)
    print("  tokenizer   SentencePiece, {} pieces, {}\n", index.tokenizer->num_pieces,
          host::readable_bytes(index.tokenizer->extent.size_bytes));
  else
    print("  tokenizer   none\n");
  const json provenance = parse_json(index.provenance(), path);
  for (const auto& [key, value] : provenance.items())
    print("  {:<11} {}\n", key == "source_format" ? "format" : key,
          value.is_string() ? value.get<std::string>() : json_text(value));
}

void print_tensors(const io::StoreIndex& index) {
  print("\n{:<30} {:>5} {:>24} {:>15} {:>15} {:>7} {:>12}\n", "tensor", "type", "shape", "offset (B)", "size (B)",
        "pieces", "piece (B)");
  for (const auto& tensor : index.tensors()) {
    const auto& spec = tensor.spec;
    print("{:<30} {:>5} {:>24} {:>15} {:>15} {:>7} {:>12}\n", spec.name, name(spec.dtype), io::shape_text(spec.shape),
          tensor.offset_bytes, spec.size_bytes(), spec.num_pieces(), spec.piece_bytes());
  }
}

std::vector<std::string> verify(const std::string& path, const io::StoreIndex& index) {
  const io::StoreReader reader(path, index, io::Verify::kFull);
  host::Progress progress("verifying", index.weight_bytes());
  const int num_threads = host::threads_alone();
  return reader.verify_all(num_threads, [&](std::int64_t done, std::int64_t) { progress.report(done); });
}

/// The report is complete; what is wrong is an error like any other.
int refuse(const std::string& store, const std::vector<std::string>& wrong) {
  finish_results();
  if (!wrong.empty())
    fail("{}: {} of its pieces {} altered; copy or convert the store again", store, wrong.size(),
         wrong.size() == 1 ? "is" : "are");
  return kSuccess;
}

}  // namespace

int run_inspect(const std::vector<std::string>& arguments) {
  namespace po = boost::program_options;
  InspectOptions inspect;
  po::options_description options("inspect FILE");
  // clang-format off
  options.add_options()
      ("store", po::value(&inspect.store)->required(), "the store (also without the option's name)")
      ("tensors", po::bool_switch(&inspect.tensors), "list the tensors")
      ("verify", po::bool_switch(&inspect.verify), "read everything and name every wrong piece (then exit code 2)")
      ("json", po::bool_switch(&inspect.as_json), "JSON instead of text");
  // clang-format on
  options.add(result_options());
  po::positional_options_description positional;
  positional.add("store", 1);
  if (parse("inspect", arguments, options, positional).contains("help")) return kSuccess;

  open_results({inspect.store});
  const auto index = io::StoreReader::read_index(inspect.store, io::Verify::kOff);
  const auto wrong = inspect.verify ? verify(inspect.store, index) : std::vector<std::string>();
  if (inspect.as_json) {
    print_json(inspect, index, wrong);
    return refuse(inspect.store, wrong);
  }
  print_summary(inspect.store, index);
  if (inspect.tensors) print_tensors(index);
  if (!inspect.verify) return kSuccess;
  print("\n");
  for (const auto& message : wrong) print("WRONG {}\n", message);
  if (wrong.empty()) print("verified: every piece, the tokenizer and the HDF5 structure are as they were written\n");
  return refuse(inspect.store, wrong);
}

}  // namespace moesaic::apps
