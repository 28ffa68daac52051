#include "batch/custom_id.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <tuple>

#include "base/counted.hpp"

namespace moesaic::batch {
namespace {

using nlohmann::json;

constexpr std::size_t kMostPairs = 20;

/// Stops the parser at the custom_id of the outermost object.
class Finder final : public json::json_sax_t {
 public:
  std::optional<std::string> found;

  bool start_object(std::size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool key(std::string& name) override {
    is_next_ = depth_ == 1 && name == "custom_id";
    return true;
  }
  bool string(std::string& text) override {
    if (is_next_) found = std::move(text);
    return !is_next_;
  }
  bool null() override { return !is_next_; }
  bool boolean(bool) override { return !is_next_; }
  bool number_integer(std::int64_t) override { return !is_next_; }
  bool number_unsigned(std::uint64_t) override { return !is_next_; }
  bool number_float(double, const std::string&) override { return !is_next_; }
  bool binary(json::binary_t&) override { return false; }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override { return false; }

 private:
  bool enter() {
    ++depth_;
    return !is_next_;
  }
  bool leave() {
    --depth_;
    return true;
  }
  int depth_ = 0;
  bool is_next_ = false;
};

}  // namespace

std::optional<std::string> custom_id_of(std::string_view line) {
  Finder finder;
  const auto has = [&](std::string_view text) { return line.find(text) != std::string_view::npos; };
  if (has("\"custom_id\"") || has("\\u00")) json::sax_parse(line, &finder);  // a key may have escaped letters
  return std::move(finder.found);
}

void RepeatedIds::add(std::string_view custom_id, std::int64_t line_number) {
  seen_.push_back({hash_bytes(std::as_bytes(std::span(custom_id))), line_number});
}

std::vector<std::pair<std::int64_t, std::int64_t>> RepeatedIds::repeats() {
  std::ranges::sort(seen_, [](const Seen& a, const Seen& b) {
    return std::tie(a.custom_id.bytes, a.line_number) < std::tie(b.custom_id.bytes, b.line_number);
  });
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs;
  for (std::size_t first = 0, i = 1; i < seen_.size(); ++i) {
    if (seen_[i].custom_id != seen_[first].custom_id)
      first = i;
    else
      pairs.emplace_back(seen_[first].line_number, seen_[i].line_number);
  }
  std::ranges::sort(pairs, {}, &std::pair<std::int64_t, std::int64_t>::second);
  return pairs;
}

std::vector<std::string> RepeatedIds::warnings(const std::string& path) {
  const auto pairs = repeats();
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < std::min(pairs.size(), kMostPairs); ++i)
    texts.push_back(fmt::format("{}: lines {} and {} have the same custom_id", path, pairs[i].first, pairs[i].second));
  if (pairs.size() > kMostPairs)
    texts.push_back(fmt::format("{}: {} more with the custom_id of an earlier one", path,
                                counted(std::ssize(pairs) - std::ssize(texts), "line")));
  return texts;
}

}  // namespace moesaic::batch
