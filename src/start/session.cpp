#include "start/session.hpp"

#include <set>

#include "base/counted.hpp"
#include "base/log.hpp"
#include "base/out_of_memory.hpp"
#include "base/trace.hpp"
#include "base/units.hpp"
#include "comm/agree.hpp"
#include "comm/locality.hpp"
#include "comm/share.hpp"
#include "comm/transport.hpp"
#include "engine/scheduler.hpp"
#include "host/binding.hpp"
#include "host/memory.hpp"
#include "host/node.hpp"
#include "io/file.hpp"
#include "io/store_header.hpp"
#include "start/memory_check.hpp"

namespace moesaic::start {
namespace {

Numerics numerics_of(const io::StoreIndex& index, const ModelOptions& options) {
  return numerics_for(index.format(), options.numerics, "the weights of " + options.store + " are");
}

plan::Choice choose(const io::StoreIndex& index, const ModelOptions& options, int num_ranks) {
  plan::LayoutRequest layout = options.layout;
  layout.ranks = num_ranks;
  const plan::PlanResult result = plan::choose_layout(
      index.config(), layout, {index.format(), numerics_of(index, options), options.dispatch.payload},
      options.placement, plan::read_placement(options.placement));
  if (!result.choice) fail("{}", result.refusal.message());
  return *result.choice;
}

/// Names of the job's hosts, each once; ranks need not be side by side on their nodes.
std::string hosts_of(const comm::Communicator& world) {
  std::set<std::string> named;
  std::string list;
  for (const std::string& name : comm::gather_texts(world, host::host_name()))
    if (named.insert(name).second) list += (list.empty() ? "" : " ") + name;
  return list;
}

void print_header(const Session& session, const ModelOptions& options, const plan::Choice& choice,
                  const std::string& placement) {
  const std::string hosts = hosts_of(session.world());
  spdlog::info("moesaic: {} x {} on {}; {}; {}, {} kernels, verify {}", counted(session.world().size(), "rank"),
               counted(session.num_threads(), "thread"), hosts, options.store, session.numeric().text(),
               session.backend()->numerics() == Numerics::kF32 ? "reference" : session.backend()->name(),
               io::name(options.verify));
  spdlog::info("layout: {}: {}", choice.layout.text(), choice.reason);
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

Session::Session(const ModelOptions& options, const std::function<void(const ModelConfig&)>& check)
    : world_(comm::Communicator::world()), dispatch_(options.dispatch) {
  std::string index_text;
  plan::Choice choice;
  comm::on_root(world_, [&] {
    const io::StoreIndex index = io::StoreReader::read_index(options.store, options.verify);
    if (check) check(index.config());
    choice = choose(index, options, world_.size());
    index_text = index.serialize();
    if (!options.dispatch.machine.empty())
      dispatch_.machine_text = plan::to_text(plan::read_machine(options.dispatch.machine));
  });
  world_.broadcast(index_text, 0);
  choice.layout = comm::shared(world_, choice.layout);
  require_same_store(world_, options.store);
  world_.broadcast(dispatch_.machine_text, 0);

  const comm::Communicator node = world_.split_node();
  comm::together(world_, [&] { num_threads_ = threads_per_rank(node, options.num_threads); });
  TeamReport team;
  comm::together(world_, [&] {
    team = set_threads(node, num_threads_, options.bind);
    reader_ = std::make_unique<io::StoreReader>(options.store, io::StoreIndex::parse(index_text, options.store),
                                                options.verify);
    backend_ = backend::open(options.backend, numerics_of(reader_->index(), options));
  });
  grid_ = placed_grid(world_, reader_->index().config(), choice.layout, options.placement, dispatch_.node_ranks);
  log_warnings(world_, team.warnings);
  print_header(*this, options, choice, team.placement);
}

std::optional<io::Tokenizer> Session::tokenizer() const {
  if (!reader_->index().tokenizer) return std::nullopt;
  return reader_->tokenizer();
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

void Session::check_memory(const plan::Workload& workload, std::int64_t more_bytes) const {
  plan::Workload asked = workload;
  asked.replicated =
      dispatch_.algorithm && plan::traits(*dispatch_.algorithm).ownership == plan::Ownership::kReplicated;
  const auto needs = plan::footprint(*grid_, plan::WorldRank{world_.rank()}, arithmetic(), asked);
  require_memory(world_,
                 {needs.total_bytes() + more_bytes, "weights, KV cache, buffers",
                  fmt::format("use more ranks or nodes, fewer or shorter sequences (--max-tokens, --max-sequences, "
                              "--kv-memory), fewer rows at a time (--prefill-chunk, --batch-rows), {}or a smaller "
                              "model",
                              grid_->placement().num_copies() > 0 ? "fewer copies of experts, " : "")});
}

/// Collective: whether the ranks of every node share a /dev/shm, with the room that their segments of kHier would take
/// on half of it.
bool Session::has_shared_memory(const plan::Workload& workload) const {
  const ModelConfig& c = config();
  const plan::StageRank me = grid_->in_stage(plan::WorldRank{world_.rank()});
  const std::int64_t terms = std::min(c.num_selected_experts, grid_->placement().slots(grid_->subset(me)).size());
  constexpr std::int64_t kRows = 2;  // own and others', each at most an fp32 row
  const double needed = static_cast<double>(workload.batch_rows * (kRows + terms) * c.emb_size) * sizeof(float);
  const comm::Communicator node = world_.split_node();
  const bool fits = 2 * node.sum(needed) <= node.min(static_cast<double>(host::available_shared_memory_bytes()));
  const bool may_map = node.sum(needed) <= static_cast<double>(process_memory_left_bytes());
  return world_.min(comm::shares_memory(node) && fits && may_map) > 0;
}

ModelWeights Session::load_weights() const {
  ModelWeights weights;
  comm::together(world_, [&] {
    const MemoryPurpose purpose("the weights; more ranks or nodes share them out");
    weights = moesaic::load_weights(*reader_, *grid_, plan::WorldRank{world_.rank()}, *backend_);
  });
  return weights;
}

void Session::load(const plan::Workload& root_workload) {
  const plan::Workload workload = comm::shared(world_, root_workload);
  if (dispatch_.algorithm && plan::traits(*dispatch_.algorithm).by_nodes) comm::require_shared_memory(world_);
  check_memory(workload);
  ModelWeights weights;
  timed(Zone::kLoad, [&] { weights = load_weights(); });
  std::vector<std::string> warnings;
  if (host::refused().areas > 0)
    warnings = {"the system has refused to spread the weights over the NUMA domains of their threads"};
  log_warnings(world_, warnings);
  const double bytes = world_.sum(static_cast<double>(reader_->bytes_read()));
  const double seconds = world_.max(zone_times().seconds[static_cast<std::size_t>(Zone::kLoad)]);
  spdlog::info("loaded {:.1f} MiB in {:.2f} s ({:.2f} GB/s)", bytes / static_cast<double>(kMiB), seconds,
               bytes / seconds / 1e9);
  plan::DispatchRequest dispatch = dispatch_;
  dispatch.shared_memory = has_shared_memory(workload);
  stage_ = std::make_unique<Stage>(world_, *grid_, backend_, std::move(weights), dispatch);
  spdlog::info("dispatch: {}", stage_->dispatch().text());
}

}  // namespace moesaic::start
