#include "apps/batch_options.hpp"

#include <charconv>
#include <filesystem>

#include "apps/parse_options.hpp"
#include "base/error.hpp"

namespace moesaic::apps {
namespace {

/// A whole number in digits alone.
std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty() && text[0] != '-';
  return whole ? std::optional(value) : std::nullopt;
}

/// auto: nothing.
std::optional<openai::LineFormat> format_of(const std::string& text) {
  if (text == "jsonl") return openai::LineFormat::kJson;
  if (text == "text") return openai::LineFormat::kText;
  if (text != "auto") fail("--format is '{}', expected jsonl, text or auto", text);
  return std::nullopt;
}

}  // namespace

std::chrono::seconds duration_of(const std::string& text, const char* option) {
  constexpr std::int64_t kBase = 60, kMost_s = std::int64_t{1} << 31;
  std::int64_t seconds = 0;
  int num_parts = 0;
  bool right = true;
  for (std::size_t begin = 0; right && begin <= text.size(); ++num_parts) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    const auto part = whole_number(std::string_view(text).substr(begin, end - begin));
    right = part && *part < kMost_s && (num_parts == 0 || *part < kBase);
    if (right) seconds = seconds * kBase + *part;
    begin = end + 1;
  }
  if (!right || num_parts > 3 || seconds <= 0 || seconds > kMost_s)
    fail("--{} is '{}', expected HH:MM:SS, MM:SS or seconds", option, text);
  return std::chrono::seconds(seconds);
}

batch::Shard shard_of(const std::string& text) {
  const std::size_t slash = text.find('/');
  const auto part = whole_number(std::string_view(text).substr(0, slash));
  const auto count = slash == std::string::npos ? std::nullopt : whole_number(std::string_view(text).substr(slash + 1));
  if (!part || !count || *count < 1 || *part > *count)
    fail("--shard is '{}', expected I/N with I from 0 to N-1 (or 1 to N)", text);
  return {*part % *count, *count};
}

std::string BatchOptions::model_name() const { return std::filesystem::path(model.store).stem().string(); }

std::optional<BatchOptions> parse_batch(const std::vector<std::string>& arguments) {
  BatchOptions batch;
  batch.scheduler.most_sequences = 256;
  po::options_description options;
  po::options_description files("requests and results (docs/batch.md)"), run("run; none of these changes a result"),
      defaults("of requests that do not say it");
  // clang-format off
  files.add_options()
      ("input,i", po::value(&batch.input.path)->required(), "a request a line: OpenAI batch lines, {\"prompt\": ...}, or plain text")
      ("output,o", po::value(&batch.output)->required(), "a result a line, in the same order; OUTPUT.journal lies beside it. The "
       "same command continues what was stopped")
      ("format", po::value<std::string>()->default_value("auto")->notifier([&](const std::string& text) { batch.format = format_of(text); }),
       "of the input: jsonl, text or auto")
      ("chat-template", po::value(&batch.chat_template), "plain, or a JSON file: how the messages of a chat become a prompt")
      ("shard", po::value<std::string>()->notifier([&](const std::string& text) { batch.input.shard = shard_of(text); }),
       "I/N: of every N requests the I-th, from 0 (N/N is 0/N); moesaic merge joins the outputs")
      ("report", po::value(&batch.report), "figures of the run, to this JSON file");
  defaults.add_options()
      ("seed", seed(&batch.input.defaults.seed, "0"), "of the random numbers, 0 to 2^64-1");
  run.add_options()
      ("max-time", po::value<std::string>()->notifier([&](const std::string& text) { batch.max_time = duration_of(text, "max-time"); }),
       "HH:MM:SS: stops cleanly after 0.99 of it, with exit code 85 if work is left")
      ("prefill-chunk", ranged(&batch.scheduler.prefill_chunk, "prefill-chunk", std::int64_t{1}, std::int64_t{1} << 24)->default_value(512),
       "most prompt tokens of a sequence that pass together")
      ("batch-rows", ranged(&batch.scheduler.batch_rows, "batch-rows", std::int64_t{1}, std::int64_t{1} << 24)->default_value(512),
       "most tokens of a micro-batch")
      ("max-sequences", ranged(&batch.scheduler.most_sequences, "max-sequences", std::int64_t{1}, std::int64_t{1} << 20)->default_value(256),
       "most sequences under way at the same time");
  // clang-format on
  options.add(model_options(batch.model))
      .add(files)
      .add(defaults)
      .add(run)
      .add(overlap_options(batch.scheduler.overlap_rows))
      .add(kv_options(batch.kv_memory_mib))
      .add(wait_options());
  if (parse("batch", arguments, options).contains("help")) return std::nullopt;
  return batch;
}

}  // namespace moesaic::apps
