#include "engine/model_loader.hpp"

#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/counted.hpp"
#include "base/json_text.hpp"
#include "base/log.hpp"
#include "base/out_of_memory.hpp"
#include "base/trace.hpp"
#include "comm/agree.hpp"
#include "comm/locality.hpp"
#include "comm/transport.hpp"
#include "engine/memory_check.hpp"
#include "engine/scheduler.hpp"
#include "host/binding.hpp"
#include "host/memory.hpp"
#include "host/node.hpp"
#include "io/file.hpp"
#include "io/store_header.hpp"

namespace moesaic {
namespace {

constexpr double kMiB = 1 << 20;

Numerics numerics_of(const io::StoreIndex& index, const ModelOptions& options) {
  return numerics_for(index.format(), options.numerics, "the weights of " + options.store + " are");
}

plan::Choice choose(const io::StoreIndex& index, const ModelOptions& options) {
  const plan::PlanResult result = plan::choose_layout(
      index.config(), options.layout, {index.format(), numerics_of(index, options), options.dispatch.payload},
      options.placement, plan::read_placement(options.placement));
  if (!result.choice) fail("{}", result.refusal.message());
  return *result.choice;
}

/// A layout as text for the broadcast, and back.
std::string to_words(const plan::Choice& choice) {
  const auto& [pp, dp, tp, ep, etp] = choice.layout;
  return json_text(nlohmann::json{{"layout", {pp, dp, tp, ep, etp}}, {"reason", choice.reason}});
}

plan::Choice from_words(const std::string& words) {
  const auto json = parse_json(words, "the chosen layout");
  const auto axis = [&](int i) { return json["layout"][static_cast<std::size_t>(i)].get<int>(); };
  return {{axis(0), axis(1), axis(2), axis(3), axis(4)}, json["reason"].get<std::string>()};
}

void print_header(const comm::Communicator& world, const OpenedModel& opened, const ModelOptions& options,
                  const std::string& placement) {
  const std::string host = host::host_name();
  const auto hosts = world.gather(std::as_bytes(std::span(host)), 0);
  std::set<std::string> named;  // ranks need not be side by side on their nodes
  std::string list;
  for (const auto& bytes : hosts) {
    const std::string name(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (named.insert(name).second) list += (list.empty() ? "" : " ") + name;
  }
  spdlog::info("moesaic: {} x {} on {}; {}; {}, {} kernels, verify {}", counted(world.size(), "rank"),
               counted(opened.num_threads, "thread"), list, options.store, opened.numeric().text(),
               opened.backend->numerics() == Numerics::kF32 ? "reference" : opened.backend->name(),
               io::name(options.verify));
  spdlog::info("layout: {}: {}", opened.choice.layout.text(), opened.choice.reason);
  spdlog::info("transport: {}", comm::transport());
  spdlog::info("placement: {}, huge pages: {}", placement, host::huge_pages());
}

}  // namespace

/// The header holds the hashes of the index and of the structure, the index those of the weights.
void require_same_store(const comm::Communicator& world, const std::string& path) {
  std::string seen;
  try {
    const io::File file = io::File::open_for_reading(path);
    std::vector<std::byte> begin(static_cast<std::size_t>(std::min<std::int64_t>(file.size_bytes(), io::kHeaderBytes)));
    file.read_at(0, begin);
    seen = fmt::format("{}: {} bytes, header {}", path, file.size_bytes(), hash_bytes(begin).hex());
  } catch (const Error& error) {
    seen = error.what();
  }
  comm::require_same(world, "the store", seen);
}

OpenedModel open_model(const comm::Communicator& world, const ModelOptions& options,
                       const std::function<void(const ModelConfig&)>& check) {
  std::string index_text, layout_text, machine_text;
  comm::on_root(world, [&] {
    const io::StoreIndex index = io::StoreReader::read_index(options.store, options.verify);
    if (check) check(index.config());
    layout_text = to_words(choose(index, options));
    index_text = index.serialize();
    if (!options.dispatch.machine.empty()) machine_text = plan::to_text(plan::read_machine(options.dispatch.machine));
  });
  world.broadcast(index_text, 0);
  world.broadcast(layout_text, 0);
  require_same_store(world, options.store);
  world.broadcast(machine_text, 0);

  const comm::Communicator node = world.split_node();
  int num_threads = 0;
  std::unique_ptr<io::StoreReader> reader;
  std::shared_ptr<backend::Backend> backend;
  comm::together(world, [&] { num_threads = threads_per_rank(node, options.num_threads); });
  TeamReport team;
  comm::together(world, [&] {
    team = set_threads(node, num_threads, options.bind);
    reader = std::make_unique<io::StoreReader>(options.store, io::StoreIndex::parse(index_text, options.store),
                                               options.verify);
    backend = backend::open(options.backend, numerics_of(reader->index(), options));
  });
  const plan::Choice choice = from_words(layout_text);
  const plan::Grid grid =
      placed_grid(world, reader->index().config(), choice.layout, options.placement, options.dispatch.node_ranks);
  OpenedModel opened{std::move(reader), choice, grid, backend, num_threads, options.dispatch};
  if (!machine_text.empty()) opened.dispatch.machine_text = machine_text;
  log_warnings(world, team.warnings);
  print_header(world, opened, options, team.placement);
  return opened;
}

plan::Workload workload_of(const std::vector<std::vector<std::int32_t>>& prompts, std::int64_t max_tokens,
                           std::int64_t prefill_chunk, const ModelConfig& config) {
  plan::Workload workload;
  workload.num_sequences = std::ssize(prompts);
  std::vector<std::int64_t> lengths;
  for (const auto& tokens : prompts) {
    lengths.push_back(std::ssize(tokens));
    workload.context = std::max(workload.context, std::min(std::ssize(tokens) + max_tokens, config.sequence_len));
  }
  workload.batch_rows = largest_batch_rows(lengths, prefill_chunk);
  return workload;
}

plan::Workload share(const comm::Communicator& world, plan::Workload workload) {
  std::vector<std::byte> bytes(sizeof workload);
  std::memcpy(bytes.data(), &workload, sizeof workload);
  world.broadcast(bytes, 0);
  std::memcpy(&workload, bytes.data(), sizeof workload);
  return workload;
}

void check_memory(const comm::Communicator& world, const OpenedModel& opened, const plan::Workload& workload,
                  std::int64_t more_bytes) {
  plan::Workload asked = workload;
  asked.replicated = opened.dispatch.algorithm == plan::DispatchAlgorithm::kDense;
  const auto needs = plan::footprint(opened.grid, plan::WorldRank{world.rank()}, opened.arithmetic(), asked);
  require_memory(world,
                 {needs.total_bytes() + more_bytes, "weights, KV cache, buffers",
                  fmt::format("use more ranks or nodes, fewer or shorter sequences (--max-tokens, --max-sequences, "
                              "--kv-memory), fewer rows at a time (--prefill-chunk, --batch-rows), {}or a smaller "
                              "model",
                              opened.grid.placement().num_copies() > 0 ? "fewer copies of experts, " : "")});
}

namespace {

/// Collective: whether the ranks of every node share a /dev/shm, with the room that their segments of kHier would take
/// on half of it.
bool has_shared_memory(const comm::Communicator& world, const OpenedModel& opened, const plan::Workload& workload) {
  const ModelConfig& c = opened.grid.config();
  const plan::StageRank me = opened.grid.in_stage(plan::WorldRank{world.rank()});
  const std::int64_t terms =
      std::min(c.num_selected_experts, opened.grid.placement().slots(opened.grid.subset(me)).size());
  constexpr std::int64_t kRows = 2;  // own and others', each at most an fp32 row
  const double needed = static_cast<double>(workload.batch_rows * (kRows + terms) * c.emb_size) * sizeof(float);
  const comm::Communicator node = world.split_node();
  const bool fits = 2 * node.sum(needed) <= node.min(static_cast<double>(host::available_shared_memory_bytes()));
  const bool may_map = node.sum(needed) <= static_cast<double>(process_memory_left_bytes());
  return world.min(comm::shares_memory(node) && fits && may_map) > 0;
}

}  // namespace

std::unique_ptr<Stage> load_model(const comm::Communicator& world, const OpenedModel& opened,
                                  const plan::Workload& workload) {
  if (opened.dispatch.algorithm == plan::DispatchAlgorithm::kHier) comm::require_shared_memory(world);
  check_memory(world, opened, workload);
  ModelWeights weights;
  timed(Zone::kLoad, [&] {
    comm::together(world, [&] {
      const MemoryPurpose purpose("the weights; more ranks or nodes share them out");
      weights = load_weights(*opened.reader, opened.grid, plan::WorldRank{world.rank()}, *opened.backend);
    });
  });
  std::vector<std::string> warnings;
  if (host::refused().areas > 0)
    warnings = {"the system has refused to spread the weights over the NUMA domains of their threads"};
  log_warnings(world, warnings);
  const double bytes = world.sum(static_cast<double>(opened.reader->bytes_read()));
  const double seconds = world.max(zone_times().seconds[static_cast<std::size_t>(Zone::kLoad)]);
  spdlog::info("loaded {:.1f} MiB in {:.2f} s ({:.2f} GB/s)", bytes / kMiB, seconds, bytes / seconds / 1e9);
  plan::DispatchRequest dispatch = opened.dispatch;
  dispatch.shared_memory = has_shared_memory(world, opened, workload);
  auto stage = std::make_unique<Stage>(world, opened.grid, opened.backend, std::move(weights), dispatch);
  spdlog::info("dispatch: {}", stage->dispatch().text());
  return stage;
}

}  // namespace moesaic
