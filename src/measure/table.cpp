#include "measure/table.hpp"

#include <algorithm>

#include "base/json_text.hpp"
#include "comm/share.hpp"
#include "host/node.hpp"
#include "host/thread_count.hpp"

namespace moesaic::measure {
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

Testbed this_testbed(const comm::Communicator& world, ops::Isa isa) {
  std::string hosts, last;
  for (const std::string& name : comm::gather_texts(world, host::host_name())) {
    if (name != last) hosts += (hosts.empty() ? "" : " ") + name;
    last = name;
  }
  return {host::cpu_name(), hosts, host::allowed_processors(), world.size(), isa};
}

void Table::add(Record record) {
  record["ranks"] = testbed_.num_ranks;
  record["isa"] = ops::name(testbed_.isa);
  record["cpu_info"] = testbed_.cpu;
  record["num_processors"] = testbed_.num_processors;
  record["hosts"] = testbed_.hosts;
  record["build"] = "moesaic " MOESAIC_VERSION;
  records_.push_back(std::move(record));
}

std::string Table::text() const {
  switch (format_) {
    case OutputFormat::kMarkdown:
      return markdown();
    case OutputFormat::kJson:
      return json_text(Record(records_), 2) + "\n";
    case OutputFormat::kCsv:
      return csv();
  }
  return "";
}

std::string Table::markdown() const {
  std::string text = fmt::format("moesaic {} on {}; {} processors a rank, {} rank{} on {}, {} instructions\n\n",
                                 MOESAIC_VERSION, testbed_.cpu, testbed_.num_processors, testbed_.num_ranks,
                                 testbed_.num_ranks == 1 ? "" : "s", testbed_.hosts, ops::name(testbed_.isa));
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) {
    widths.push_back(num_characters(column.title));
    for (const Record& record : records_) widths.back() = std::max(widths.back(), num_characters(cell(record, column)));
  }
  const auto add_row = [&](auto&& text_of) {
    for (std::size_t i = 0; i < columns_.size(); ++i)
      text += fmt::format("| {} ", padded(text_of(columns_[i]), widths[i]));
    text += "|\n";
  };
  add_row([](const Column& column) { return std::string(column.title); });
  for (const std::size_t width : widths) text += fmt::format("|{}:", std::string(width + 1, '-'));
  text += "|\n";
  for (const Record& record : records_) add_row([&](const Column& column) { return cell(record, column); });
  return text;
}

/// The columns are the first record's keys, without those of lists.
std::string Table::csv() const {
  if (records_.empty()) return "";
  std::vector<std::string> keys;
  for (const auto& [key, value] : records_[0].items())
    if (!value.is_array()) keys.push_back(key);
  std::string text;
  const auto add_line = [&](auto&& text_of) {
    for (std::size_t i = 0; i < keys.size(); ++i) text.append(i == 0 ? "" : ",").append(text_of(keys[i]));
    text += "\n";
  };
  add_line([](const std::string& key) { return key; });
  for (const Record& record : records_)
    add_line([&](const std::string& key) {
      const Record value = record.value(key, Record());
      return value.is_string() ? quoted(value.get<std::string>()) : value.is_null() ? "" : json_text(value);
    });
  return text;
}

}  // namespace moesaic::measure
