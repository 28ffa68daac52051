#include "apps/doctor/folder.hpp"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/doctor/judge.hpp"
#include "base/error.hpp"
#include "device/machine.hpp"

namespace moesaic::apps::doctor {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FolderFacts, host, error, file_system, free_bytes, seen_after_s, problem, read_mbps)

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kFile_bytes = std::size_t{8} << 20, kAppended_bytes = 4096;
constexpr int kAppends = 8;
constexpr std::size_t kWhole_bytes = kFile_bytes + kAppends * kAppended_bytes;

double elapsed_s(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }
std::string reason() { return std::strerror(errno); }

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
std::vector<char> content(std::uint64_t seed) {
  std::vector<char> bytes(kWhole_bytes);
  for (char& byte : bytes) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<char>(seed >> 56);
  }
  return bytes;
}

/// An open file; closed with its owner.
class Descriptor {
 public:
  Descriptor(const std::string& file, int flags) : fd_(::open(file.c_str(), flags | O_CLOEXEC, 0600)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return fd_; }

 private:
  int fd_;
};

void write_synced(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(fd, bytes, size);
    if (written < 0) fail("writing: {}", reason());
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
  if (::fsync(fd) != 0) fail("fsync: {}", reason());
}

/// Error: why it does not work.
WriteRates write_file(const std::string& file, const std::vector<char>& bytes) {
  const Descriptor fd(file, O_WRONLY | O_CREAT | O_EXCL);
  if (fd < 0) fail("creating a file: {}", reason());
  WriteRates rates;
  const auto start = Clock::now();
  write_synced(fd, bytes.data(), kFile_bytes);
  rates.mbps = static_cast<double>(kFile_bytes) / elapsed_s(start) * 1e-6;
  std::vector<double> appends_ms;
  for (int i = 0; i < kAppends; ++i) {
    const auto begin = Clock::now();
    write_synced(fd, bytes.data() + kFile_bytes + static_cast<std::size_t>(i) * kAppended_bytes, kAppended_bytes);
    appends_ms.push_back(1e3 * elapsed_s(begin));
  }
  std::sort(appends_ms.begin(), appends_ms.end());
  rates.fsync_ms = appends_ms[kAppends / 2];
  return rates;
}

/// What is wrong with the file as this node sees it; empty: nothing. Waits for it, since network file systems show what
/// others write only after some time.
std::string read_file(const std::string& file, const std::vector<char>& expected, FolderFacts& facts) {
  constexpr double kPatience_s = 10;
  const auto start = Clock::now();
  std::error_code error;
  while (std::filesystem::file_size(file, error) != expected.size() || error) {
    if (elapsed_s(start) > kPatience_s)
      return error ? error.message() : fmt::format("not whole after {} s", kPatience_s);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  facts.seen_after_s = elapsed_s(start);
  const Descriptor fd(file, O_RDONLY);
  if (fd < 0) return reason();
  (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  std::vector<char> found(expected.size());
  const auto begin = Clock::now();
  for (std::size_t done = 0; done < found.size();) {
    const ssize_t size = ::read(fd, found.data() + done, found.size() - done);
    if (size <= 0) return size < 0 ? reason() : "it ends early";
    done += static_cast<std::size_t>(size);
  }
  facts.read_mbps = static_cast<double>(found.size()) / elapsed_s(begin) * 1e-6;
  return found == expected ? "" : "its content is another";
}

FolderFacts look_at(const std::string& folder) {
  FolderFacts facts;
  facts.host = device::host_name();
  struct statfs system {};
  if (::statfs(folder.c_str(), &system) != 0)
    facts.error = reason();
  else if (!std::filesystem::is_directory(folder))
    facts.error = "is not a folder";
  else if (::access(folder.c_str(), W_OK | X_OK) != 0)
    facts.error = "cannot be written: " + reason();
  facts.file_system = name_of_file_system(static_cast<std::uint64_t>(system.f_type) & 0xFFFFFFFFu);
  facts.free_bytes = static_cast<std::int64_t>(system.f_bavail) * static_cast<std::int64_t>(system.f_bsize);
  return facts;
}

std::vector<FolderFacts> gather_of_nodes(const comm::Communicator& world, const comm::Communicator& node,
                                         const FolderFacts& own) {
  const std::string text =
      node.rank() == 0 ? nlohmann::json(own).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) : "";
  std::vector<FolderFacts> nodes;
  for (const auto& bytes : world.gather(std::as_bytes(std::span(text)), 0))
    if (!bytes.empty())
      nodes.push_back(
          nlohmann::json::parse(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
  return nodes;
}

}  // namespace

Findings check_folder(const comm::Communicator& world, const comm::Communicator& node, const std::string& folder) {
  FolderFacts own = look_at(folder);
  // Rank 0 writes it; its host, process and time are in its name and content.
  std::string file, error = own.error;
  WriteRates rates;
  std::uint64_t seed = 0;
  if (world.rank() == 0) {
    const auto now = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    seed = now;
    file = fmt::format("{}/.moesaic-doctor.{}.{}.{}", folder, own.host, ::getpid(), now);
    if (error.empty()) try {
        rates = write_file(file, content(seed));
      } catch (const Error& caught) {
        own.error = error = caught.what();
      }
  }
  world.broadcast(error, 0);
  world.broadcast(file, 0);
  std::string seed_text = std::to_string(seed);
  world.broadcast(seed_text, 0);
  if (error.empty() && own.error.empty() && node.rank() == 0)
    own.problem = read_file(file, content(std::stoull(seed_text)), own);
  const std::vector<FolderFacts> nodes = gather_of_nodes(world, node, own);
  if (world.rank() != 0) return {};
  ::unlink(file.c_str());
  return judge_folder(folder, nodes, rates);
}

}  // namespace moesaic::apps::doctor
