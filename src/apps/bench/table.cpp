#include "apps/bench/table.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>

#include "apps/results.hpp"
#include "base/error.hpp"
#include "base/json_text.hpp"
#include "device/machine.hpp"

namespace moesaic::apps::bench {
namespace {

std::string cell(const Record& record, const Column& column) {
  if (!record.contains(column.key) || record[column.key].is_null()) return "-";
  const auto& value = record[column.key];
  if (value.is_number_float()) return fmt::format("{:.{}f}", value.get<double>(), column.decimals);
  if (value.is_boolean()) return value.get<bool>() ? "right" : "WRONG";
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

/// Characters of UTF-8 text.
std::size_t num_characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width) {
  return std::string(width - num_characters(text), ' ') + text;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += c;
    result += c;
  }
  return result + '"';
}

}  // namespace

std::string cpu_name() {
  std::ifstream stream("/proc/cpuinfo");  // lines are "key\t: value"
  std::string name = "unknown processor", family = "?", model = "?";
  for (std::string line; std::getline(stream, line) && !line.empty();) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of("\t ", colon - 1) + 1);
    const std::string value = line.substr(std::min(line.size(), colon + 2));
    if (key == "model name") name = value;
    if (key == "cpu family") family = value;
    if (key == "model") model = value;
  }
  return fmt::format("{}, family {} model {}", name, family, model);
}

po::options_description output_options(OutputFormat& format) {
  const auto take = [&format](const std::string& word) {
    if (word != "md" && word != "json" && word != "csv") fail("--output is '{}', expected md, json or csv", word);
    format = word == "md" ? OutputFormat::kMarkdown : word == "json" ? OutputFormat::kJson : OutputFormat::kCsv;
  };
  po::options_description options("output");
  options.add_options()("output,o", po::value<std::string>()->default_value("md")->notifier(take), "md, json or csv");
  options.add(result_options(OutputOption::kTaken));
  return options;
}

std::vector<std::int64_t> parse_list(const std::string& text, const char* option, std::int64_t low, std::int64_t high) {
  std::vector<std::int64_t> list;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data();; ++at) {
    std::int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || (next != end && *next != ',') || value < low || value > high)
      fail("--{} is '{}', expected integers from {} to {}, separated by commas", option, text, low, high);
    list.push_back(value);
    if (next == end) return list;
    at = next;
  }
}

Machine this_machine(const comm::Communicator& world, ops::Isa isa) {
  const std::string host = device::host_name();
  const auto all = world.gather(std::as_bytes(std::span(host)), 0);
  std::string hosts, last;
  for (const auto& bytes : all) {
    const std::string name(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (name != last) hosts += (hosts.empty() ? "" : " ") + name;
    last = name;
  }
  return {cpu_name(), hosts, device::allowed_processors(), world.size(), isa};
}

void Table::add(Record record) {
  record["ranks"] = machine_.num_ranks;
  record["isa"] = ops::name(machine_.isa);
  record["cpu_info"] = machine_.cpu;
  record["num_processors"] = machine_.num_processors;
  record["hosts"] = machine_.hosts;
  record["build"] = "moesaic " MOESAIC_VERSION;
  records_.push_back(std::move(record));
}

void Table::print() const {
  switch (format_) {
    case OutputFormat::kMarkdown:
      print_markdown();
      break;
    case OutputFormat::kJson:
      apps::print(json_text(Record(records_), 2) + "\n");
      break;
    case OutputFormat::kCsv:
      print_csv();
      break;
  }
}

void Table::print_markdown() const {
  apps::print("moesaic {} on {}; {} processors a rank, {} rank{} on {}, {} instructions\n\n", MOESAIC_VERSION,
              machine_.cpu, machine_.num_processors, machine_.num_ranks, machine_.num_ranks == 1 ? "" : "s",
              machine_.hosts, ops::name(machine_.isa));
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) {
    widths.push_back(num_characters(column.title));
    for (const Record& record : records_) widths.back() = std::max(widths.back(), num_characters(cell(record, column)));
  }
  const auto print_row = [&](auto&& text_of) {
    for (std::size_t i = 0; i < columns_.size(); ++i) apps::print("| {} ", padded(text_of(columns_[i]), widths[i]));
    apps::print("|\n");
  };
  print_row([](const Column& column) { return std::string(column.title); });
  for (const std::size_t width : widths) apps::print("|{}:", std::string(width + 1, '-'));
  apps::print("|\n");
  for (const Record& record : records_) print_row([&](const Column& column) { return cell(record, column); });
}

/// The first record's keys, without lists.
void Table::print_csv() const {
  if (records_.empty()) return;
  std::vector<std::string> keys;
  for (const auto& [key, value] : records_[0].items())
    if (!value.is_array()) keys.push_back(key);
  const auto print_line = [&](auto&& text_of) {
    for (std::size_t i = 0; i < keys.size(); ++i) apps::print("{}{}", i == 0 ? "" : ",", text_of(keys[i]));
    apps::print("\n");
  };
  print_line([](const std::string& key) { return key; });
  for (const Record& record : records_)
    print_line([&](const std::string& key) {
      const Record value = record.value(key, Record());
      return value.is_string() ? quoted(value.get<std::string>()) : value.is_null() ? "" : json_text(value);
    });
}

}  // namespace moesaic::apps::bench
