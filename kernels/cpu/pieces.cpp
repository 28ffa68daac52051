#include <cstring>
#include <span>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"
#include "drivers.hpp"
#include "row_ops.hpp"

/// Rows on their way to experts and the experts' outputs on their way back.
namespace moesaic::cpu {
namespace {

using backend::ConstBytes;
using backend::PiecesOfRows;
using backend::TreeList;

constexpr std::int64_t kGrain_rows = 16;   ///< rows to move that are worth another thread
constexpr std::int64_t kGrain_pieces = 8;  ///< pieces to write that are worth another thread

/// Scratch of one row, kept from call to call.
struct RowScratch {
  std::vector<const float*> parts;        // of an expert: where its partial sums lie
  AlignedBuffer sums;                     // fp32 (parts of an expert, D)
  AlignedBuffer gated;                    // fp32 (A, D)
  AlignedBuffer rounded;                  // Act (A, D)
  std::vector<const std::byte*> outputs;  // Act (D) of each expert
  std::vector<plan::Merge> merges;
  std::vector<std::uint8_t> begun;  // by expert: its gated sum is there
};

std::span<const plan::Merge> merges_of(const TreeList& trees, const plan::TreeTable::Tree& tree) {
  return {trees.merges.address() + tree.first_merge, static_cast<std::size_t>(tree.num_merges)};
}

/// out fp32 (D): partial outputs of one expert, added up by the tree. part(k): the k-th.
template <class Part>
void add_parts(std::span<const plan::Merge> merges, std::int32_t num_parts, std::int64_t width, RowScratch& scratch,
               Part&& part, float* out) {
  scratch.parts.clear();
  for (std::int32_t k = 0; k < num_parts; ++k) scratch.parts.push_back(reinterpret_cast<const float*>(part(k)));
  scratch.sums.reserve(bytes_of<float>(num_parts * width));
  plan::add_up(
      merges, scratch.parts, out, [&](int k) { return scratch.sums.as<float>() + k * width; },
      [&](const float* x, const float* y, float* sum) { add_row(x, y, width, sum); });
}

/// As add_parts(), rounded to Act.
template <class Part>
void round_parts(const Path& path, std::span<const plan::Merge> merges, std::int32_t num_parts, std::int64_t width,
                 RowScratch& scratch, Part&& part, std::byte* out) {
  scratch.sums.reserve(bytes_of<float>(num_parts * width));
  float* const sum = scratch.sums.as<float>();
  add_parts(merges, num_parts, width, scratch, part, sum);
  CodedRow(path.act, {path.act.type, width}, out).encode(sum);
}

/// m(D) = the gated outputs of a row's experts, added up by the tree over the expert index. A gated output comes into
/// being where it is needed: as the first value of a sum, or while it is added to one.
void add_experts(const Path& path, const PiecesOfRows& pieces, std::size_t first_term, RowScratch& scratch, float* m) {
  const auto num_terms = static_cast<std::size_t>(pieces.num_active);
  plan::combine_experts({pieces.experts.address() + first_term, num_terms}, pieces.num_experts, scratch.merges);
  const auto sum = [&](int a) { return a == 0 ? m : scratch.gated.as<float>() + a * pieces.width; };
  const RowForm form{path.act.type, pieces.width};
  const auto output = [&](int a) { return CodedRow(path.act, form, scratch.outputs[static_cast<std::size_t>(a)]); };
  const auto gate = [&](int a) { return pieces.gates.address()[first_term + static_cast<std::size_t>(a)]; };
  const auto begun = [&](int a) -> std::uint8_t& { return scratch.begun[static_cast<std::size_t>(a)]; };
  const auto begin = [&](int a) {
    if (!begun(a)) output(a).decode(gate(a), sum(a));
    begun(a) = 1;
  };
  scratch.begun.assign(num_terms, 0);
  for (const auto& [into, from] : scratch.merges) {
    begin(into);
    if (begun(from))
      add_row(sum(into), sum(from), pieces.width, sum(into));
    else
      output(from).add(gate(from), sum(into));
  }
  begin(0);
}

/// Where an expert's complete output lies: as it came, or completed here and rounded to `rounded`.
const std::byte* complete_output(const Path& path, const PiecesOfRows& pieces, const TreeList& trees, std::size_t term,
                                 RowScratch& scratch, std::byte* rounded) {
  const plan::TreeTable::Tree& tree = trees.trees.address()[pieces.trees.address()[term]];
  const auto part = [&](int k) {
    const auto& [offset_bytes, domain] = pieces.pieces.address()[pieces.first_piece.address()[term] + k];
    return pieces.streams.address()[domain].address() + offset_bytes;
  };
  if (tree.num_parts == 1) return part(0);
  round_parts(path, merges_of(trees, tree), tree.num_parts, pieces.width, scratch, part, rounded);
  return rounded;
}

}  // namespace

/// Rows that were rounded on their way are activations again, of what is left of them.
void permute(const Path& path, const ConstBytes* blocks, const plan::RowSource* sources, std::int64_t num_terms,
             const NumericSetting& setting, std::int64_t width, std::byte* rows) {
  const RowForm travelling = setting.expert_row(width), input = setting.row(width);
  parallel_for(num_terms, kGrain_rows, [&](std::int64_t term) {
    const auto& [block, row] = sources[term];
    const std::byte* from = blocks[block].address() + bytes_of(row, travelling.row_bytes());
    std::byte* to = rows + bytes_of(term, input.row_bytes());
    if (!setting.rounds_expert_rows()) {
      std::memcpy(to, from, input.row_bytes());
      return;
    }
    float* const values = row_scratch(width);
    CodedRow(path.int8, travelling, from).decode(1, values);
    CodedRow(path.input, input, to).encode(values);
  });
}

void write_pieces(const Path& path, const plan::PieceJob* jobs, std::int64_t num_jobs, const TreeList& trees,
                  const ConstBytes* outputs, std::size_t term_bytes, std::int64_t width, std::byte* stream) {
  parallel_for(num_jobs, kGrain_pieces, [&](std::int64_t i) {
    const plan::PieceJob& job = jobs[i];
    const plan::TreeTable::Tree& tree = trees.trees.address()[job.tree];
    std::byte* const out = stream + job.offset_bytes;
    const auto output = [&](int k) {
      return outputs[trees.parts.address()[tree.first_part + k]].address() + bytes_of(job.place, term_bytes);
    };
    if (tree.num_parts == 1) {
      std::memcpy(out, output(0), term_bytes);
      return;
    }
    thread_local RowScratch scratch;
    const auto merges = merges_of(trees, tree);
    if (tree.completes != 0)
      round_parts(path, merges, tree.num_parts, width, scratch, output, out);
    else
      add_parts(merges, tree.num_parts, width, scratch, output, reinterpret_cast<float*>(out));
  });
}

void combine_rows(const Path& path, const PiecesOfRows& pieces, const TreeList& trees, float* m) {
  const auto num_terms = static_cast<std::size_t>(pieces.num_active);
  const std::size_t output_bytes = RowForm{path.act.type, pieces.width}.row_bytes();
  parallel_for(pieces.num_rows, [&](std::int64_t row) {
    thread_local RowScratch scratch;
    scratch.gated.reserve(num_terms * bytes_of<float>(pieces.width));
    scratch.rounded.reserve(num_terms * output_bytes);
    scratch.outputs.resize(num_terms);
    const std::size_t first_term = static_cast<std::size_t>(row) * num_terms;
    for (std::size_t a = 0; a < num_terms; ++a)
      scratch.outputs[a] =
          complete_output(path, pieces, trees, first_term + a, scratch, scratch.rounded.data() + a * output_bytes);
    add_experts(path, pieces, first_term, scratch, m + row * pieces.width);
  });
}

}  // namespace moesaic::cpu
