#include <algorithm>
#include <filesystem>
#include <fstream>

#include "apps/batch_options.hpp"
#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "base/counted.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "batch/journal.hpp"
#include "io/mapped_file.hpp"
#include "io/temporary_file.hpp"

namespace moesaic::apps {
namespace {

constexpr const char* kShard = "shard";

/// The output of one job of an array.
struct Part {
  std::string path;
  batch::JournalFacts facts;
  batch::Shard shard;
};

Part read_part(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) fail("{}: is no file, expected an output of moesaic batch", path);
  const std::string journal = batch::journal_of(path);
  if (!std::filesystem::exists(journal)) fail("{}: is missing; it tells which shard {} is", journal, path);
  Part part{path, batch::read_facts(journal), {}};
  if (!part.facts.completed) fail("{}: is not complete; run its moesaic batch command again to its end", path);
  const io::MappedFile file(path);
  if (hash_bytes(file.bytes()) != part.facts.completed->output_hash)
    fail("{}: was altered since moesaic batch wrote it; restore it from a copy", path);
  for (const auto& [name, value] : part.facts.identity)
    if (name == kShard) part.shard = shard_of(value);
  return part;
}

/// Error unless they are all shards of one batch. In the order of the shards.
std::vector<Part> read_parts(const std::vector<std::string>& paths) {
  std::vector<Part> parts;
  for (const std::string& path : paths) parts.push_back(read_part(path));
  const std::int64_t count = parts[0].shard.count;
  for (const Part& part : parts) {
    if (part.facts.identity.size() != parts[0].facts.identity.size())
      fail("{} and {} are not of the same batch: they were begun by versions of Moesaic that draw by different rules",
           parts[0].path, part.path);
    for (std::size_t i = 0; i < part.facts.identity.size(); ++i)
      if (const auto& [name, value] = part.facts.identity[i];
          (name != kShard && parts[0].facts.identity[i] != part.facts.identity[i]) || part.shard.count != count)
        fail("{} and {} are not of the same batch: {} is '{}' and '{}'", parts[0].path, part.path, name,
             parts[0].facts.identity[i].second, value);
  }
  std::ranges::sort(parts, {}, [](const Part& part) { return part.shard.part; });
  for (std::int64_t i = 0; i < std::max(count, std::ssize(parts)); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (at < parts.size() && parts[at].shard.part == i) continue;
    if (at < parts.size() && i > 0 && parts[at].shard.part == parts[at - 1].shard.part)
      fail("{} and {} are the same shard, {}/{}", parts[at - 1].path, parts[at].path, i - 1, count);
    fail("shard {}/{} is missing: give the outputs of all {} shards", i, count, count);
  }
  return parts;
}

/// Line k of shard i is request k * count + i.
std::int64_t interleave(const std::vector<Part>& parts, io::TemporaryFile& output) {
  std::vector<std::ifstream> streams;
  for (const Part& part : parts) streams.emplace_back(part.path, std::ios::binary);
  constexpr std::size_t kStep_bytes = 1 << 20;
  std::string text;
  std::int64_t num_lines = 0;
  for (std::string line; std::getline(streams[static_cast<std::size_t>(num_lines % std::ssize(parts))], line);
       ++num_lines) {
    text += line + '\n';
    if (text.size() >= kStep_bytes) output.append(std::exchange(text, ""));
  }
  output.append(text);
  return num_lines;
}

}  // namespace

int run_merge(const std::vector<std::string>& arguments) {
  std::string output;
  std::vector<std::string> paths;
  po::options_description options("moesaic merge -o OUTPUT PARTS...");
  // clang-format off
  options.add_options()
      ("output,o", po::value(&output)->required(), "the results of all shards, in the order of the input")
      ("parts", po::value(&paths)->required(), "outputs of moesaic batch --shard, in any order, their journals beside them");
  // clang-format on
  po::positional_options_description positional;
  positional.add("parts", -1);
  if (parse("merge", arguments, options, positional).contains("help")) return kSuccess;

  const std::vector<Part> parts = read_parts(paths);
  io::TemporaryFile place(output);
  const std::int64_t num_lines = interleave(parts, place);
  std::int64_t num_requests = 0, num_errors = 0;
  for (const Part& part : parts) {
    num_requests += part.facts.completed->num_requests;
    num_errors += part.facts.completed->num_errors;
  }
  if (num_lines != num_requests)
    fail("{} lines were joined, the journals tell of {} requests", num_lines, num_requests);
  if (std::filesystem::exists(output)) {
    if (hash_bytes(io::MappedFile(output).bytes()) != hash_bytes(io::MappedFile(place.temporary_path()).bytes()))
      fail("--output {}: is there and is something else; give another name, or move it away", output);
  } else {
    place.publish();
  }
  spdlog::info("merged {} of {} into {}", counted(num_lines, "result"), counted(std::ssize(parts), "shard"), output);
  // That of the whole batch is over requests in the order of the input, and complete journals know only their own.
  for (const Part& part : parts)
    spdlog::info("logits hash of shard {}/{}: {}", part.shard.part, part.shard.count,
                 part.facts.completed->logits_hash.hex());
  return code_of_results(num_requests, num_errors);
}

}  // namespace moesaic::apps
