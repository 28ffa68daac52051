#pragma once

#include <cstdint>

/// The elements of the lists by which kernels move rows and pieces of experts' outputs (plan/dispatch_plan.hpp makes
/// them).
namespace moesaic::plan {

/// A row in one of several blocks of rows.
struct RowSource {
  std::int32_t block = 0, row = 0;
};

/// A piece that a domain makes of an expert's output: the sum of a tree over its holders' outputs at one place.
struct PieceJob {
  std::int64_t offset_bytes = 0;  ///< in the stream that goes back to the row's owner
  std::int32_t place = 0;         ///< term in the batches of the tree's holders
  std::int32_t tree = 0;          ///< number in the trees of fragments (plan/tree_table.hpp)
};

/// Where a piece that has come back lies.
struct PieceSource {
  std::int64_t offset_bytes = 0;  ///< in the domain's stream
  std::int32_t domain = 0;
};

}  // namespace moesaic::plan
