#include "apps/doctor/folder.hpp"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "apps/doctor/judge.hpp"
#include "base/error.hpp"
#include "base/json_text.hpp"
#include "comm/share.hpp"
#include "host/node.hpp"
#include "io/file.hpp"
#include "io/temporary_file.hpp"
#include "measure/statistics.hpp"

namespace moesaic::apps::doctor {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FolderFacts, host, error, file_system, free_bytes, seen_after_s, problem,
                                   lock_problem, read_mbps)

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kFile_bytes = std::size_t{8} << 20, kAppended_bytes = 4096;
constexpr int kAppends = 8;
constexpr std::size_t kWhole_bytes = kFile_bytes + kAppends * kAppended_bytes;

double elapsed_s(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// By the numbers of statfs(2) and of the file systems themselves.
std::string name_of_file_system(std::uint64_t type) {
  static const std::map<std::uint64_t, std::string> kNames{
      {0x0BD00BD0, "lustre"},  {0x47504653, "gpfs"},  {0x19830326, "beegfs"},   {0x6969, "nfs"},
      {0xAAD7AAEA, "panfs"},   {0x00C36400, "ceph"},  {0x20030528, "orangefs"}, {0xEF53, "ext"},
      {0x58465342, "xfs"},     {0x9123683E, "btrfs"}, {0x2FC12FC1, "zfs"},      {0x01021994, "tmpfs"},
      {0x794C7630, "overlay"}, {0x65735546, "fuse"},  {0xFE534D42, "smb"},      {0xFF534D42, "cifs"},
      {0x01021997, "9p"}};
  const auto found = kNames.find(type);
  return found == kNames.end() ? fmt::format("type {:#x}", type) : found->second;
}

/// The test file's content, so that a file of another run or a stale page shows.
std::vector<std::byte> content(std::uint64_t seed) {
  std::vector<std::byte> bytes(kWhole_bytes);
  for (std::byte& byte : bytes) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::byte>(seed >> 56);
  }
  return bytes;
}

/// Fills the new file. Error: why it does not work.
void write_file(const io::TemporaryFile& place, const std::vector<std::byte>& bytes, WriteRates& rates,
                FolderFacts& facts) {
  const std::span all(bytes);
  const io::File& file = place.file();
  if (place.lock() == io::File::Lock::kUnsupported) facts.lock_problem = "files cannot be locked";
  const auto start = Clock::now();
  file.write_at(0, all.first(kFile_bytes));
  file.sync();
  rates.mbps = static_cast<double>(kFile_bytes) / elapsed_s(start) * 1e-6;
  std::vector<double> appends_ms;
  for (std::size_t end = kFile_bytes; end < bytes.size(); end += kAppended_bytes) {
    const auto begin = Clock::now();
    file.write_at(static_cast<std::int64_t>(end), all.subspan(end, kAppended_bytes));
    file.sync();
    appends_ms.push_back(1e3 * elapsed_s(begin));
  }
  rates.fsync_ms = measure::statistics(appends_ms).median;
}

/// Waits for a file to have its size, since network file systems show what others write only after some time. What
/// hindered it; empty: nothing.
std::string await_size(const std::string& path, std::size_t size) {
  constexpr double kPatience_s = 10;
  const auto start = Clock::now();
  std::error_code error;
  while (std::filesystem::file_size(path, error) != size || error) {
    if (elapsed_s(start) > kPatience_s)
      return error ? error.message() : fmt::format("not whole after {} s", kPatience_s);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return "";
}

/// How this node sees the file that rank 0 wrote and has locked, into facts. own: of rank 0.
void read_file(const std::string& path, const std::vector<std::byte>& expected, bool own, FolderFacts& facts) {
  const auto start = Clock::now();
  facts.problem = await_size(path, expected.size());
  if (!facts.problem.empty()) return;
  facts.seen_after_s = elapsed_s(start);
  try {
    const io::File file = io::File::open_for_writing(path);
    if (!own && file.try_lock() == io::File::Lock::kOurs) facts.lock_problem = "locks do not reach other nodes";
    const io::File reader = io::File::open_for_reading(path);
    (void)::posix_fadvise(reader.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
    std::vector<std::byte> found(expected.size());
    const auto begin = Clock::now();
    reader.read_at(0, found);
    facts.read_mbps = static_cast<double>(found.size()) / elapsed_s(begin) * 1e-6;
    if (found != expected) facts.problem = "its content is another";
  } catch (const Error& error) {
    facts.problem = error.what();
  }
}

FolderFacts look_at(const std::string& folder) {
  FolderFacts facts;
  facts.host = host::host_name();
  struct statfs system {};
  if (::statfs(folder.c_str(), &system) != 0)
    facts.error = std::strerror(errno);
  else if (!std::filesystem::is_directory(folder))
    facts.error = "is not a folder";
  else if (::access(folder.c_str(), W_OK | X_OK) != 0)
    facts.error = std::string("cannot be written: ") + std::strerror(errno);
  facts.file_system = name_of_file_system(static_cast<std::uint64_t>(system.f_type) & 0xFFFFFFFFu);
  facts.free_bytes = static_cast<std::int64_t>(system.f_bavail) * static_cast<std::int64_t>(system.f_bsize);
  return facts;
}

std::vector<FolderFacts> gather_of_nodes(const comm::Communicator& world, const comm::Communicator& node,
                                         const FolderFacts& own) {
  const std::string text = node.rank() == 0 ? json_text(nlohmann::json(own)) : "";
  std::vector<FolderFacts> nodes;
  for (const std::string& facts : comm::gather_texts(world, text))
    if (!facts.empty()) nodes.push_back(parse_json(facts, "the facts of a node"));
  return nodes;
}

}  // namespace

Findings check_folder(const comm::Communicator& world, const comm::Communicator& node, const std::string& folder) {
  FolderFacts own = look_at(folder);
  // Rank 0 writes a file that is never published; the time is in its content.
  std::string path, error = own.error;
  std::uint64_t seed = 0;
  WriteRates rates;
  std::optional<io::TemporaryFile> file;
  if (world.rank() == 0) {
    seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    try {
      if (error.empty()) {
        path = file.emplace(folder + "/.moesaic-doctor").temporary_path();
        write_file(*file, content(seed), rates, own);
      }
    } catch (const Error& caught) {
      own.error = error = caught.what();
    }
  }
  world.broadcast(error, 0);
  world.broadcast(path, 0);
  seed = comm::shared(world, seed);
  if (error.empty() && own.error.empty() && node.rank() == 0) read_file(path, content(seed), world.rank() == 0, own);
  const std::vector<FolderFacts> nodes = gather_of_nodes(world, node, own);
  if (world.rank() != 0) return {};
  return judge_folder(folder, nodes, rates);
}

}  // namespace moesaic::apps::doctor
