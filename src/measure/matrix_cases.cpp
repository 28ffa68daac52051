#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/aligned_buffer.hpp"
#include "base/parallel.hpp"
#include "base/random.hpp"
#include "base/units.hpp"
#include "measure/compare.hpp"
#include "measure/kernel_case.hpp"

namespace moesaic::measure {
namespace {

/// Rows of the activations that differ; the portable path need not compute more.
constexpr std::int64_t kDistinctRows = 48;

/// A bit of every byte, so that none is -128, which models hardly have and which is multiplied more slowly.
constexpr std::uint64_t kNoLowest = 0x0101010101010101;

/// source: random bytes, one a weight.
void pack_bytes(backend::Packer& packer, const backend::Matrix& w, const std::byte* source) {
  const backend::MatrixShape& shape = w.shape;
  packer.begin(w);
  packer.clear_padding(w);
  const float deviation = shape.type == DType::kInt4x2 ? 4.6f : 74.0f;  // of uniform halves, of uniform bytes
  const float scale = 1.0f / (deviation * std::sqrt(static_cast<float>(shape.leaf_size)));
  std::vector<Bf16> halves;
  if (shape.type == DType::kBf16) {
    for (std::int64_t i = 0; i < shape.leaf_size * shape.num_columns; ++i)
      halves.push_back(to_bf16(scale * static_cast<float>(static_cast<std::int8_t>(source[i]))));
    source = reinterpret_cast<const std::byte*>(halves.data());
  }
  const auto scale_of = [&](std::int64_t c) { return scale * (0.8f + 0.01f * static_cast<float>(c % 41)); };
  const std::int64_t groups = int4_groups(shape.leaf_size);
  std::vector<float> scales;
  for (std::int64_t c = 0; c < shape.num_columns; ++c) scales.push_back(scale_of(c));
  if (shape.type == DType::kInt4x2)
    for (std::int64_t i = 0; i < groups * shape.num_columns; ++i) halves.push_back(to_bf16(scale_of(i)));
  for (std::int64_t leaf = 0; leaf < shape.num_leaves; ++leaf) {
    packer.pack(w, {leaf, 0, shape.leaf_size, 0, shape.num_columns}, source);
    if (shape.has_scales()) packer.set_scales(w, leaf, 0, scales);
    if (shape.type == DType::kInt4x2)
      packer.pack_scales(w, {leaf, 0, groups, 0, shape.num_columns}, reinterpret_cast<const std::byte*>(halves.data()));
  }
}

/// Random matrices of one shape that fill a given amount of memory.
class MatrixSet {
 public:
  MatrixSet(backend::Packer& packer, const backend::MatrixShape& shape, std::int64_t memory_bytes)
      : shape_(shape), stride_(packer.size_bytes(shape)) {
    num_matrices_ = std::max<std::int64_t>(2, memory_bytes / static_cast<std::int64_t>(stride_));
    memory_ = AlignedBuffer(static_cast<std::size_t>(num_matrices_) * stride_);
    // Every matrix is another window of one list of random bytes.
    const auto elems = static_cast<std::size_t>(shape.leaf_size * shape.num_columns);
    std::vector<std::uint64_t> words(elems / 8 + static_cast<std::size_t>(num_matrices_) + 1);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = random_word(i) | kNoLowest;
    parallel_for(num_matrices_, [&](std::int64_t m) {
      pack_bytes(packer, matrix(static_cast<std::size_t>(m)), reinterpret_cast<const std::byte*>(words.data() + m));
    });
    for (std::size_t m = 0; m < static_cast<std::size_t>(num_matrices_); ++m) matrices_.push_back(matrix(m));
  }

  /// The i-th, again and again from the first one on.
  std::span<const backend::Matrix> operator[](std::size_t i) const {
    return std::span(matrices_).subspan(i % matrices_.size(), 1);
  }
  std::size_t matrix_bytes() const { return stride_; }
  const backend::MatrixShape& shape() const { return shape_; }

 private:
  backend::Matrix matrix(std::size_t i) { return {shape_, at(memory_.data() + i * stride_)}; }

  backend::MatrixShape shape_;
  std::size_t stride_;
  std::int64_t num_matrices_;
  AlignedBuffer memory_;
  std::vector<backend::Matrix> matrices_;
};

/// Inputs (num_rows, width); row r is row r % kDistinctRows.
AlignedBuffer inputs(const Compute& compute, std::int64_t num_rows, std::int64_t width) {
  const auto values = random_floats(static_cast<std::size_t>(kDistinctRows * width), 7);
  const std::size_t row_bytes = input_row(compute.numerics(), width).row_bytes();
  AlignedBuffer rows(bytes_of(num_rows, row_bytes));
  for (std::int64_t row = 0; row < num_rows; ++row)
    compute.kernels().to_input(*compute.queue, at(values.data() + row % kDistinctRows * width), 1, width, 1,
                               at(rows.data() + bytes_of(row, row_bytes)));
  return rows;
}

/// One product, gated or not, for any number of rows.
struct Product {
  bool gated;
  std::shared_ptr<const MatrixSet> weights;
  AlignedBuffer x;         // Input (most rows, inputs)
  AlignedBuffer y;         // fp32 or, when gated, Input of one leaf (most rows, columns)
  AlignedBuffer expected;  // the portable path's first kDistinctRows rows with the first matrices

  Product(bool is_gated, std::shared_ptr<const MatrixSet> set, const Compute& compute, std::int64_t most_rows)
      : gated(is_gated),
        weights(std::move(set)),
        x(inputs(compute, most_rows, weights->shape().leaf_size)),
        y(static_cast<std::size_t>(most_rows) * result(compute).row_bytes()),
        expected(static_cast<std::size_t>(kDistinctRows) * result(compute).row_bytes()) {
    multiply(Compute::cpu("portable", compute.numerics()), std::min(most_rows, kDistinctRows), 0, expected.data());
  }

  /// The form of a row.
  RowForm result(const Compute& compute) const {
    return input_row(gated ? compute.numerics() : Numerics::kF32, weights->shape().num_columns);
  }

  void multiply(const Compute& compute, std::int64_t num_rows, std::size_t call, std::byte* into) const {
    const std::int32_t psum_rows[] = {0, static_cast<std::int32_t>(num_rows)};
    const backend::Groups groups{at(psum_rows), num_rows};
    if (gated)
      compute.kernels().grouped_gated_gelu(*compute.queue, at(x.data()), groups, (*weights)[2 * call],
                                           (*weights)[2 * call + 1], 1, at(into));
    else
      compute.kernels().grouped_gemm(*compute.queue, at(x.data()), groups, (*weights)[call],
                                     at(reinterpret_cast<float*>(into)));
  }

  std::optional<std::string> check(const Compute& compute, std::int64_t num_rows) {
    std::memset(y.data(), 0xa5, y.size_bytes());
    multiply(compute, num_rows, 0, y.data());
    const RowForm form = result(compute);
    const std::size_t elem_bytes = form.quantised() ? sizeof(float) : size_bytes(form.type);  // words of 4 bytes
    const auto columns = static_cast<std::int64_t>(form.row_bytes() / elem_bytes);
    return first_wrong({expected.data(), columns, elem_bytes}, kDistinctRows, {y.data(), columns, elem_bytes},
                       num_rows);
  }
};

void add_cases(const Compute& compute, const KernelWorkload& workload, bool gated,
               const std::shared_ptr<const MatrixSet>& weights, std::vector<KernelCase>& cases) {
  const std::int64_t most_rows = *std::max_element(workload.row_counts.begin(), workload.row_counts.end());
  const auto product = std::make_shared<Product>(gated, weights, compute, most_rows);
  const backend::MatrixShape& shape = weights->shape();
  const double matrices = gated ? 2 : 1;
  for (const std::int64_t num_rows : workload.row_counts) {
    KernelCase test;
    test.op = gated ? "gated_gelu" : "gemm";
    test.num_rows = num_rows;
    test.num_inputs = shape.leaf_size;
    test.num_columns = shape.num_columns;
    test.factors = factors_of(compute.numerics());
    test.multiply_adds = matrices * static_cast<double>(num_rows * shape.leaf_size * shape.num_columns);
    test.read_bytes = matrices * static_cast<double>(weights->matrix_bytes());
    test.run = [=](std::size_t call) { product->multiply(compute, num_rows, call, product->y.data()); };
    test.check = [=] { return product->check(compute, num_rows); };
    cases.push_back(std::move(test));
  }
}

}  // namespace

std::vector<KernelCase> matrix_cases(const Compute& compute, const KernelWorkload& workload) {
  const std::int64_t width = workload.config.emb_size, slice = workload.config.ffn_size / kNumLeaves;
  const DType type = packed_type(format_of(compute.numerics()).value_or(WeightFormat::kInt8), compute.numerics());
  const auto up = std::make_shared<const MatrixSet>(compute.backend->packer(),
                                                    backend::MatrixShape{type, 1, width, slice}, workload.memory_bytes);
  const auto down = std::make_shared<const MatrixSet>(
      compute.backend->packer(), backend::MatrixShape{type, 1, slice, width}, workload.memory_bytes);
  std::vector<KernelCase> cases;
  add_cases(compute, workload, true, up, cases);
  add_cases(compute, workload, false, up, cases);
  add_cases(compute, workload, false, down, cases);
  return cases;
}

void pack_random(backend::Packer& packer, const backend::Matrix& w, std::uint64_t seed) {
  std::vector<std::uint64_t> words(static_cast<std::size_t>(w.shape.leaf_size * w.shape.num_columns) / 8 + 1);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = random_word(i ^ (seed << 40)) | kNoLowest;
  pack_bytes(packer, w, reinterpret_cast<const std::byte*>(words.data()));
}

std::vector<float> random_floats(std::size_t n, std::uint64_t seed) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i)
    values[i] = static_cast<float>(random_word(i ^ (seed << 40)) >> 40) * 0x1p-23f - 1.0f;
  return values;
}

}  // namespace moesaic::measure
