#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/hash.hpp"
#include "comm/mpi.hpp"
#include "io/temporary_file.hpp"
#include "model/probe.hpp"

namespace moesaic {

/// One hash for each (sequence, layer, operation): of the row hashes in ascending position, whoever owned the rows; so
/// the same in every layout. Where two files differ first is where two runs began to differ.
class LayerHashes final : public Probe {
 public:
  void see(ProbePoint point, const TokenBatch& batch, Range rows, std::span<const float> values) override;
  void see_routing(ModelLayer layer, const TokenBatch& batch, Range rows, std::span<const std::int32_t> experts,
                   std::span<const float> gates) override;

  /// Collective: gathers everything on rank 0, which writes the file (docs/numerics.md).
  void write(const comm::Communicator& world, const std::filesystem::path& file, const std::string& header) const;
  /// Collective: the same in a place, rank 0's, which gets its name then.
  void publish(const comm::Communicator& world, std::optional<io::TemporaryFile>& place,
               const std::string& header) const;

 private:
  struct Record {
    std::int32_t sequence, layer, operation, position;
    Hash128 hash;
  };
  /// The file's text, of the records of all ranks.
  static std::string gathered(std::vector<Record> records, const std::string& header);

  std::vector<Record> records_;
};

/// A file of layer hashes.
struct LayerHashFile {
  std::string header;
  std::map<std::tuple<std::int32_t, std::int32_t, std::int32_t>, std::string> hashes;  ///< (sequence, layer, operation)
};
LayerHashFile read_layer_hashes(const std::filesystem::path& file);

/// The first place, in the order of computation, where two files differ; nullopt: they agree.
std::optional<std::string> first_difference(const LayerHashFile& a, const LayerHashFile& b);

}  // namespace moesaic
