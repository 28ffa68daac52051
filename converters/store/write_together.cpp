#include "store/write_together.hpp"

#include <cstring>
#include <memory>
#include <span>

#include "base/log.hpp"
#include "comm/agree.hpp"
#include "host/stop_signals.hpp"

namespace moesaic::converters {

io::StoreIndex write_together(const comm::Communicator& comm, const std::string& out, bool force,
                              const io::NewStore& store, const std::function<void(io::PieceWriter&)>& write) {
  std::unique_ptr<io::StoreDraft> draft;  // rank 0's; its destructor removes the temporary file
  std::string temporary_path, index_text;
  comm::on_root(comm, [&] {
    draft = std::make_unique<io::StoreDraft>(out, store, force);
    temporary_path = draft->temporary_path();
    index_text = draft->index().serialize();
  });
  comm.broadcast(temporary_path, 0);
  comm.broadcast(index_text, 0);
  io::StoreIndex index = io::StoreIndex::parse(index_text, temporary_path);

  std::vector<io::WrittenPiece> written;
  comm::together(comm, [&] {
    io::PieceWriter writer(temporary_path, index);
    write(writer);
    written = writer.finish();
  });
  const auto all = comm.gather(std::as_bytes(std::span(written)), 0);
  comm::on_root(comm, [&] {
    for (const auto& bytes : all) {
      std::vector<io::WrittenPiece> pieces(bytes.size() / sizeof(io::WrittenPiece));
      std::memcpy(pieces.data(), bytes.data(), bytes.size());
      draft->record(pieces);
    }
    host::StopSignals::check();
    draft->publish();
  });
  return index;
}

host::Progress ConversionReport::progress(std::int64_t share_bytes) const {
  return {num_ranks_ == 1 ? "converting" : "converting (rank 0's share)", share_bytes};
}

void ConversionReport::print(const std::string& out, const io::StoreIndex& index, const std::string& made) const {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  spdlog::info("{}: {} {} in {:.1f} s ({:.2f} GB/s) on {} rank{}", out, host::readable_bytes(index.file_size_bytes), made,
               seconds, static_cast<double>(index.weight_bytes()) * 1e-9 / seconds, num_ranks_,
               num_ranks_ == 1 ? "" : "s");
}

}  // namespace moesaic::converters
