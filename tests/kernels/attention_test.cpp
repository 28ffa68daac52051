#include <algorithm>

#include "definition.hpp"

namespace moesaic::cpu::test {
namespace {

using backend::AttentionShape;
using backend::RowContext;

/// Sequences of random q, k and v, with pages that first hold stale numbers.
struct Case {
  AttentionShape shape;
  std::vector<std::int64_t> lengths;
  Numerics numerics;
  std::vector<float> k, v;                   ///< (row, kv heads, K); a sequence's rows follow the one's before
  Rows k_rows, v_rows;                       ///< the same as the cache has them
  std::vector<std::vector<float>> q_values;  ///< of each row
  Rows q;                                    ///< (row, q heads, K)
  std::vector<std::vector<std::byte>> memory;
  std::vector<backend::Bytes> blocks;  ///< of one sequence after the other
  std::vector<RowContext> rows;
  static constexpr std::int64_t kPageOffset = 128;

  /// The results: heads side by side, in parts that need not be heads.
  RowForm form() const { return input_row(numerics, q_stride(), q_stride() % 8 == 0 ? 4 : 2); }
  std::int64_t k_stride() const { return shape.num_kv_heads * shape.page.key_size; }
  std::int64_t q_stride() const { return shape.num_q_heads() * shape.page.key_size; }
};

class AttentionTest : public KernelTest {
 protected:
  Case make(std::int64_t key_size, std::int64_t kv_heads, std::int64_t q_per_kv, std::vector<std::int64_t> lengths) {
    const Numerics numerics = GetParam().numerics;
    std::int64_t num_rows = 0;
    for (const std::int64_t length : lengths) num_rows += length;
    AttentionShape shape{{activation_type(numerics), key_size},
                         kv_heads,
                         q_per_kv,
                         1.0f / std::sqrt(static_cast<float>(key_size)),
                         30.0f};
    const RowForm kv_form = activation_row(numerics, kv_heads * key_size, kv_heads);
    Case c{.shape = shape,
           .lengths = lengths,
           .numerics = numerics,
           .k = {},
           .v = {},
           .k_rows = Rows(kv_form, num_rows),
           .v_rows = Rows(kv_form, num_rows),
           .q_values = {},
           .q = Rows(activation_row(numerics, shape.num_q_heads() * key_size, shape.num_q_heads()), num_rows),
           .memory = {},
           .blocks = {},
           .rows = {}};
    for (std::int64_t row = 0; row < num_rows; ++row) {
      std::vector<float>& values = c.q_values.emplace_back();
      for (std::int64_t i = 0; i < c.q_stride(); ++i) values.push_back(3.0f * normal());
      c.q.set(row, values);
    }
    for (std::int64_t i = 0; i < num_rows * c.k_stride(); ++i) c.k.push_back(3.0f * normal()), c.v.push_back(normal());
    for (std::int64_t row = 0; row < num_rows; ++row) {
      const auto of_row = [&](const std::vector<float>& values) {
        return std::vector<float>(values.begin() + row * c.k_stride(), values.begin() + (row + 1) * c.k_stride());
      };
      c.k_rows.set(row, of_row(c.k));
      c.v_rows.set(row, of_row(c.v));
    }
    const std::size_t block_bytes = Case::kPageOffset + static_cast<std::size_t>(kv_heads) * shape.page.page_bytes();
    for (const std::int64_t length : lengths) {
      const auto first_block = static_cast<std::int32_t>(c.blocks.size());
      for (std::int64_t b = 0; b < (length + 63) / 64; ++b) {
        c.memory.emplace_back(block_bytes + 64);
        std::byte* memory = c.memory.back().data();
        memory += (64 - reinterpret_cast<std::uintptr_t>(memory) % 64) % 64;
        c.blocks.emplace_back(memory);
        fill_stale(memory, block_bytes);
      }
      for (std::int32_t position = 0; position < length; ++position) c.rows.push_back({position, first_block});
    }
    return c;
  }

  /// Finite numbers, both signs.
  void fill_stale(std::byte* at, std::size_t size) {
    const bool f32 = GetParam().f32();
    for (std::size_t i = 0; i < size; i += 4) {
      const float x = 100.0f * normal();
      const std::uint16_t half[2] = {to_bf16(x).bits, to_bf16(-x).bits};
      std::memcpy(at + i, f32 ? static_cast<const void*>(&x) : half, 4);
    }
  }

  void write(const Case& c, std::int64_t first, std::int64_t count) {
    GetParam().kernels().write_kv(queue(), at(c.k.data() + first * c.k_stride()), at(c.v.data() + first * c.k_stride()),
                                  c.k_stride(), c.shape, pages(c, first, count), Case::kPageOffset);
  }
  void attend(const Case& c, std::int64_t first, std::int64_t count, Rows& out) {
    GetParam().kernels().attention(queue(), at(c.q.row(first)), c.shape, pages(c, first, count), Case::kPageOffset,
                                   c.form().num_parts, at(out.row(first)));
  }
  static backend::PageTable pages(const Case& c, std::int64_t first, std::int64_t count) {
    return {at(c.rows.data() + first), at(c.blocks.data()), count};
  }

  Rows expected(const Case& c) {
    Rows out(c.form(), static_cast<std::int64_t>(c.rows.size()));
    std::int64_t first = 0;
    for (const std::int64_t length : c.lengths) {
      for (std::int64_t position = 0; position < length; ++position) {
        std::vector<float> heads;
        for (std::int64_t head = 0; head < c.shape.num_q_heads(); ++head) one_head(c, first, position, head, heads);
        out.set(first + position, heads);
      }
      first += length;
    }
    return out;
  }

  /// The definition for one query, added to `out`; `first`: its sequence's first row.
  void one_head(const Case& c, std::int64_t first, std::int64_t position, std::int64_t head, std::vector<float>& out) {
    const std::int64_t K = c.shape.page.key_size, kv_head = head / c.shape.q_per_kv;
    float sum = 0;
    std::vector<float> total(static_cast<std::size_t>(K), 0.0f);
    for (std::int64_t block = 0; block * 64 <= position; ++block) {
      std::vector<float> p(64, 0.0f);
      for (std::int64_t t = block * 64; t < block * 64 + 64 && t <= position; ++t) {
        const float qk = score(c, first + position, head, first + t);
        const float s = qk * c.shape.multiplier;
        const float fast = exp_f32((-2.0f * c.shape.cap) / (exp_f32(s * (2.0f / c.shape.cap)) + 1.0f));
        const bool f32 = c.numerics == Numerics::kF32;
        const float weight = f32 ? capped_weight_exact(qk, {c.shape.multiplier, c.shape.cap}) : fast;
        p[static_cast<std::size_t>(t - block * 64)] = rounded(activation_type(c.numerics), weight);
      }
      sum = sum + lane_sum(p);
      const std::int64_t rest = position - block * 64;
      const std::vector<float> values =
          block_output(c, p, first + block * 64, std::min<std::int64_t>(rest, 63), kv_head);
      for (std::size_t j = 0; j < values.size(); ++j) total[j] = total[j] + values[j];
    }
    for (std::int64_t j = 0; j < K; ++j) out.push_back(total[static_cast<std::size_t>(j)] / sum + 0.0f);
  }

  /// q . k of a row's head and a key.
  static float score(const Case& c, std::int64_t row, std::int64_t head, std::int64_t key) {
    const std::int64_t K = c.shape.page.key_size, kv_head = head / c.shape.q_per_kv;
    const auto q = [&](std::int64_t j) { return c.q.value(row, head * K + j); };
    const auto k = [&](std::int64_t j) { return c.k_rows.value(key, kv_head * K + j); };
    if (!c.q.form().quantised()) return dot(c.q.form().type, K, q, k);
    std::int64_t exact = 0;
    for (std::int64_t j = 0; j < K; ++j) exact += static_cast<std::int64_t>(q(j)) * static_cast<std::int64_t>(k(j));
    return (static_cast<float>(exact) * c.q.scale(row, head).scale) * c.k_rows.scale(key, kv_head).scale;
  }

  /// p . v over a block of keys of which the first is `first` and the last `last` behind it.
  static std::vector<float> block_output(const Case& c, const std::vector<float>& p, std::int64_t first,
                                         std::int64_t last, std::int64_t kv_head) {
    const std::int64_t K = c.shape.page.key_size;
    const auto v = [&](std::int64_t t, std::int64_t j) {
      return t <= last ? c.v_rows.value(first + t, kv_head * K + j) : 0.0f;
    };
    std::vector<float> scaled, output;
    for (std::int64_t t = 0; t <= last && c.v_rows.form().quantised(); ++t)
      scaled.push_back(p[static_cast<std::size_t>(t)] * c.v_rows.scale(first + t, kv_head).scale);
    const Quantised weights = quantise(DType::kInt16, scaled);
    for (std::int64_t j = 0; j < K; ++j) {
      std::int64_t exact = 0;
      for (std::size_t t = 0; t < scaled.size(); ++t)
        exact += weights.values[t] * static_cast<std::int64_t>(v(static_cast<std::int64_t>(t), j));
      output.push_back(c.v_rows.form().quantised() ? static_cast<float>(exact) * weights.scale
                                                   : dot(
                                                         c.v_rows.form().type, 64,
                                                         [&](std::int64_t t) { return p[static_cast<std::size_t>(t)]; },
                                                         [&](std::int64_t t) { return v(t, j); }));
    }
    return output;
  }
};

TEST_P(AttentionTest, Shapes) {
  struct Sizes {
    std::int64_t key_size, kv_heads, q_per_kv;
  };
  for (const Sizes sizes : {Sizes{2, 1, 1}, {16, 2, 3}, {64, 1, 6}, {66, 1, 7}, {128, 2, 2}, {130, 1, 5}}) {
    Case c = make(sizes.key_size, sizes.kv_heads, sizes.q_per_kv, {150, 1, 64, 7});
    const auto rows = static_cast<std::int64_t>(c.rows.size());
    write(c, 0, rows);
    Rows out(c.form(), rows);
    attend(c, 0, rows, out);
    EXPECT_TRUE(out.same_bytes(expected(c)))
        << "K " << sizes.key_size << ", " << sizes.kv_heads << " kv heads, " << sizes.q_per_kv << " q heads each";
  }
}

/// Keys that are not written yet, any chunks, any number of threads: the same bits.
TEST_P(AttentionTest, Chunks) {
  const Case whole = make(32, 3, 3, {200});
  for (const std::int64_t chunk : {1, 7, 64, 200})
    for (const int threads : {1, 2, 3}) {
      set_threads(threads);
      random.seed(42);
      Case c = make(32, 3, 3, {200});
      Rows out(c.form(), 200);
      for (std::int64_t first = 0; first < 200; first += chunk) {
        write(c, first, std::min(chunk, 200 - first));
        attend(c, first, std::min(chunk, 200 - first), out);
      }
      if (threads == 1 && chunk == 1) {
        EXPECT_TRUE(out.same_bytes(expected(c)));
      }
      static std::vector<std::pair<Numerics, Rows>> seen;
      const auto same = std::find_if(seen.begin(), seen.end(), [&](const auto& s) { return s.first == c.numerics; });
      if (same == seen.end())
        seen.emplace_back(c.numerics, out);
      else
        EXPECT_TRUE(out.same_bytes(same->second)) << "chunks of " << chunk << ", " << threads << " threads";
    }
}

TEST_P(AttentionTest, RowsOfOneSequenceInAnyOrder) {
  Case c = make(32, 1, 2, {100, 100});
  write(c, 0, 200);
  Rows out(c.form(), 200), shuffled = out;
  attend(c, 0, 200, out);
  std::vector<std::int64_t> order(200);
  for (std::int64_t i = 0; i < 200; ++i) order[static_cast<std::size_t>(i)] = i;
  std::shuffle(order.begin(), order.end(), random);
  Case d = c;
  for (std::int64_t i = 0; i < 200; ++i) {
    d.rows[static_cast<std::size_t>(i)] = c.rows[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])];
    d.q.set(i, c.q_values[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
  }
  attend(d, 0, 200, shuffled);
  for (std::int64_t i = 0; i < 200; ++i)
    ASSERT_EQ(std::memcmp(shuffled.row(i), out.row(order[static_cast<std::size_t>(i)]), c.form().row_bytes()), 0);
}

INSTANTIATE_TEST_SUITE_P(Paths, AttentionTest, testing::ValuesIn(modes()), mode_name);

}  // namespace
}  // namespace moesaic::cpu::test
