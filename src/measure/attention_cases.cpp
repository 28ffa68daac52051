#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"
#include "measure/compare.hpp"
#include "measure/kernel_case.hpp"

namespace moesaic::measure {
namespace {

/// Rows that the portable path computes too: the last ones of a call.
constexpr std::int64_t kCheckedRows = 16;

/// Sequences of `context` positions in one layer, all kv heads.
class Pages {
 public:
  Pages(const Compute& compute, const backend::AttentionShape& shape, std::int64_t context, std::int64_t memory_bytes)
      : num_blocks_((context + kBlockKeys - 1) / kBlockKeys) {
    const std::size_t block_bytes = bytes_of(shape.num_kv_heads, shape.page.page_bytes());
    sequence_bytes_ = bytes_of(num_blocks_, block_bytes);
    num_sequences_ = std::max<std::size_t>(2, static_cast<std::size_t>(memory_bytes) / sequence_bytes_);
    memory_ = AlignedBuffer(num_sequences_ * sequence_bytes_);
    for (std::size_t block = 0; block < num_sequences_ * static_cast<std::size_t>(num_blocks_); ++block)
      blocks_.push_back(at(memory_.data() + block * block_bytes));
    fill(compute, shape);
  }

  /// The pages of rows that belong to the sequence of a call.
  backend::PageTable table(const std::vector<backend::RowContext>& rows, std::size_t call) const {
    return {at(rows.data()), at(blocks_.data() + call % num_sequences_ * static_cast<std::size_t>(num_blocks_)),
            std::ssize(rows)};
  }
  std::size_t sequence_bytes() const { return sequence_bytes_; }

 private:
  /// Writes the first sequence and copies it to the others.
  void fill(const Compute& compute, const backend::AttentionShape& shape) {
    std::memset(memory_.data(), 0, sequence_bytes_);
    const std::int64_t stride = shape.num_kv_heads * shape.page.key_size;
    for (std::int64_t block = 0; block < num_blocks_; ++block) {
      const auto values =
          random_floats(static_cast<std::size_t>(2 * kBlockKeys * stride), static_cast<std::uint64_t>(block) + 100);
      std::vector<backend::RowContext> rows;
      for (std::int64_t key = 0; key < kBlockKeys; ++key)
        rows.push_back({static_cast<std::int32_t>(block * kBlockKeys + key), 0});
      compute.kernels().write_kv(*compute.queue, at(values.data()), at(values.data() + kBlockKeys * stride), stride,
                                 shape, table(rows, 0), 0);
    }
    parallel_for(static_cast<std::int64_t>(num_sequences_) - 1, [&](std::int64_t i) {
      std::memcpy(memory_.data() + bytes_of(i + 1, sequence_bytes_), memory_.data(), sequence_bytes_);
    });
  }

  std::int64_t num_blocks_;
  std::size_t sequence_bytes_, num_sequences_;
  AlignedBuffer memory_;
  std::vector<backend::Bytes> blocks_;
};

struct Queries {
  backend::AttentionShape shape;
  std::int64_t context;
  Pages pages;
  RowForm q_form, form;  // of a row of q, and of results, one leaf
  AlignedBuffer q;       // Act (most rows, H K)
  AlignedBuffer out;     // Input (most rows, H K)

  Queries(const Compute& compute, const KernelWorkload& workload, const backend::AttentionShape& heads,
          std::int64_t most_rows)
      : shape(heads),
        context(workload.context),
        pages(compute, heads, workload.context, workload.memory_bytes),
        q_form(activation_row(compute.numerics(), width(), heads.num_q_heads())),
        form(input_row(compute.numerics(), width())),
        q(bytes_of(most_rows, q_form.row_bytes())),
        out(bytes_of(most_rows, form.row_bytes())) {
    const auto values = random_floats(static_cast<std::size_t>(most_rows * width()), 9);
    compute.kernels().to_activation(*compute.queue, at(values.data()), width(), most_rows, width(), q_form.num_parts,
                                    at(q.data()));
  }

  std::int64_t width() const { return shape.num_q_heads() * shape.page.key_size; }

  /// Of the last num_rows positions, for the last `last` of them; their q and results are those of a call of all.
  void attend(const Compute& compute, std::int64_t num_rows, std::int64_t last, std::size_t call, std::byte* into) {
    std::vector<backend::RowContext> rows;
    for (std::int64_t row = num_rows - last; row < num_rows; ++row)
      rows.push_back({static_cast<std::int32_t>(context - num_rows + row), 0});
    const auto q_offset_bytes = static_cast<std::size_t>(num_rows - last) * q_form.row_bytes();
    compute.kernels().attention(*compute.queue, at(q.data() + q_offset_bytes), shape, pages.table(rows, call), 0, 1,
                                at(into));
  }

  std::optional<std::string> check(const Compute& compute, std::int64_t num_rows) {
    std::memset(out.data(), 0xa5, out.size_bytes());
    attend(compute, num_rows, num_rows, 0, out.data());
    const std::int64_t checked = std::min(num_rows, kCheckedRows);
    const std::size_t offset_bytes = bytes_of(num_rows - checked, form.row_bytes());
    AlignedBuffer expected(bytes_of(checked, form.row_bytes()));
    attend(Compute::cpu("portable", compute.numerics()), num_rows, checked, 0, expected.data());
    const std::size_t elem_bytes =
        form.quantised() ? sizeof(float) : size_bytes(form.type);  // a quantised row: words of 4 bytes
    const auto columns = static_cast<std::int64_t>(form.row_bytes() / elem_bytes);
    return first_wrong({expected.data(), columns, elem_bytes}, checked,
                       {out.data() + offset_bytes, columns, elem_bytes}, checked);
  }
};

}  // namespace

std::vector<KernelCase> attention_cases(const Compute& compute, const KernelWorkload& workload) {
  const ModelConfig& c = workload.config;
  const backend::AttentionShape shape{{activation_type(compute.numerics()), c.key_size},
                                      c.num_kv_heads,
                                      c.q_per_kv(),
                                      c.arch.attn_output_multiplier,
                                      c.arch.attn_logit_cap};
  const std::int64_t most_rows = *std::max_element(workload.row_counts.begin(), workload.row_counts.end());
  const auto queries = std::make_shared<Queries>(compute, workload, shape, most_rows);
  std::vector<KernelCase> cases;
  for (const std::int64_t num_rows : workload.row_counts) {
    KernelCase test;
    test.op = "attention";
    test.num_rows = num_rows;
    test.num_inputs = workload.context;
    test.num_columns = queries->width();
    test.factors = shape.page.type == DType::kF32    ? Factors::kF32
                   : shape.page.type == DType::kBf16 ? Factors::kBf16
                                                     : Factors::kInt16;
    const std::int64_t keys = num_rows * workload.context - num_rows * (num_rows - 1) / 2;  // causal
    test.multiply_adds = 2.0 * static_cast<double>(keys * queries->width());
    test.read_bytes = static_cast<double>(queries->pages.sequence_bytes());
    test.run = [=](std::size_t call) { queries->attend(compute, num_rows, num_rows, call, queries->out.data()); };
    test.check = [=] { return queries->check(compute, num_rows); };
    cases.push_back(std::move(test));
  }
  return cases;
}

}  // namespace moesaic::measure
