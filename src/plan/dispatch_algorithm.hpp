#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace moesaic::plan {

/// How rows get to the experts and the experts' outputs back. The result is the same.
enum class DispatchAlgorithm : std::uint8_t {
  kFlat,       ///< a message to each rank
  kHier,       ///< a message to each node; inside it through shared memory
  kAgrs,       ///< every rank gets all rows; terms go back to the owners
  kDense,      ///< every rank owns all rows; only terms travel, to all
  kAlltoallv,  ///< as flat, by MPI_Alltoall of sizes and MPI_Alltoallv: the reference
};
inline constexpr DispatchAlgorithm kAllDispatchAlgorithms[] = {DispatchAlgorithm::kFlat, DispatchAlgorithm::kHier,
                                                               DispatchAlgorithm::kAgrs, DispatchAlgorithm::kDense,
                                                               DispatchAlgorithm::kAlltoallv};

/// Who owns the rows of a batch in a stage.
enum class Ownership : std::uint8_t {
  kShared,      ///< one rank of the stage owns each row
  kReplicated,  ///< every rank of the stage owns all rows, and no row travels to an expert
};

/// In what the algorithms differ.
struct AlgorithmTraits {
  std::string_view name;
  Ownership ownership = Ownership::kShared;
  bool sends_all_rows = false;  ///< an owner sends each row to all domains, not only to those that hold its experts
  bool by_nodes = false;        ///< a domain is a node, whose ranks share memory; else it is one rank
  bool sizes_first = false;     ///< sizes are exchanged before rows and terms, by MPI's collectives; never chosen
};
inline constexpr AlgorithmTraits kAlgorithmTraits[] = {{.name = "flat"},
                                                       {.name = "hier", .by_nodes = true},
                                                       {.name = "agrs", .sends_all_rows = true},
                                                       {.name = "dense", .ownership = Ownership::kReplicated},
                                                       {.name = "alltoallv", .sizes_first = true}};

constexpr const AlgorithmTraits& traits(DispatchAlgorithm algorithm) {
  return kAlgorithmTraits[static_cast<std::size_t>(algorithm)];
}
constexpr std::string_view name(DispatchAlgorithm algorithm) { return traits(algorithm).name; }
constexpr std::optional<DispatchAlgorithm> dispatch_from(std::string_view name) {
  for (const DispatchAlgorithm algorithm : kAllDispatchAlgorithms)
    if (name == traits(algorithm).name) return algorithm;
  return std::nullopt;
}

}  // namespace moesaic::plan
