#include "apps/chat_session.hpp"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/error.hpp"
#include "host/stop_signals.hpp"
#include "io/file.hpp"
#include "openai/json_line.hpp"

namespace moesaic::apps {
namespace {

constexpr const char* kHelp =
    R"(Each line is a message; a backslash at its end goes on with the next line. // at its beginning stands for one /.
  /system TEXT      what the assistant is told first; without TEXT: nothing
  /reset            forgets all but that
  /undo             takes the last message and its answer back
  /retry            another answer to the last message (the same one at temperature 0)
  /save FILE        the messages, as a line of JSON (docs/chat.md: a request of `moesaic batch`)
  /load FILE        goes on with saved messages
  /set NAME VALUE   temperature, top-k, top-p, repetition-penalty, seed or max-tokens; without NAME: what they are
  /stats            tokens, rates, what was found in the KV cache
  /exit             ends, as the end of input does
Ctrl-C stops an answer; at the prompt it ends the chat.)";

template <class... Args>
void notice(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "{}\n", fmt::format(format, std::forward<Args>(args)...));
}

std::string trimmed(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// The first word, and the rest without spaces around.
std::pair<std::string, std::string> split(const std::string& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  return {text.substr(0, end), trimmed(text.substr(end))};
}

}  // namespace

po::options_description answer_options(GenerationRequest& answer) {
  po::options_description options, length("answers");
  // clang-format off
  length.add_options()
      ("max-tokens", ranged(&answer.max_tokens, "max-tokens", std::int64_t{1}, std::int64_t{1} << 40)->default_value(256),
       "most tokens of an answer");
  // clang-format on
  options.add(sampling_options(answer.sampling)).add(length);
  return options;
}

ChatSession::ChatSession(Options options, const ModelConfig& config, const io::Tokenizer& tokenizer, Engine& engine)
    : options_(std::move(options)),
      config_(config),
      tokenizer_(tokenizer),
      conversation_(options_.form),
      input_(STDIN_FILENO),
      engine_(engine) {}

bool ChatSession::between_steps() {
  for (const Event& event : engine_.take_events()) {
    if (const auto* added = std::get_if<TokenAdded>(&event.what)) put(added->text);
    if (const auto* finished = std::get_if<RequestFinished>(&event.what)) finish(*finished);
    if (const auto* failed = std::get_if<RequestFailed>(&event.what)) {
      answering_ = false;
      notice("{}", failed->reason);
    }
  }
  if (!stopped_ && !input_ended_ && !answering_) await_line();
  return !stopped_ && (!input_ended_ || answering_);
}

/// Waits for a line, but not for long: other ranks want to hear of this one.
void ChatSession::await_line() {
  if (!prompted_) fmt::print(stderr, "> ");
  prompted_ = true;
  std::string line;
  const LineInput::State state = input_.next(Engine::longest_pause(), line);
  if (state == LineInput::State::kNothing) return;
  if (state == LineInput::State::kLine && line.ends_with('\\')) {
    line_ += line.substr(0, line.size() - 1) + "\n";
    return;
  }
  if (state == LineInput::State::kEnd) {
    input_ended_ = true;
    if (!line_.empty()) line_.pop_back();  // the next line, which it was to go on with, does not come
    if (line_.empty()) return;
  }
  prompted_ = false;
  try {
    take_line(std::exchange(line_, "") + line);
  } catch (const Error& error) {
    notice("{}", error.what());
  }
}

void ChatSession::take_line(const std::string& line) {
  openai::check_text(line);
  if (line.starts_with("//")) return ask(line.substr(1));
  if (line.starts_with('/')) return command(line);
  if (!line.empty()) return ask(line);
  if (options_.raw && !conversation_.empty()) ask(std::nullopt);
}

void ChatSession::command(const std::string& line) {
  const auto [name, rest] = split(line);
  if (name == "/help") return notice("{}", kHelp);
  if (name == "/system") return conversation_.set_system(rest);
  if (name == "/reset") return conversation_.reset();
  if (name == "/undo") return notice("{}", conversation_.undo() ? "taken back" : "there is no message to take back");
  if (name == "/retry") return retry();
  if (name == "/save") return save(rest);
  if (name == "/load") return load(rest);
  if (name == "/set") return set(rest);
  if (name == "/stats") return notice("{}", stats());
  if (name != "/exit") fail("{} is no command; /help lists them", name);
  input_ended_ = true;
}

/// Asks for an answer to one more message, or to what is there.
void ChatSession::ask(const std::optional<std::string>& text) {
  if (text) conversation_.add_user(*text);
  const std::int64_t context = config_.sequence_len;
  const std::int64_t most = context - std::min(options_.answer.max_tokens, context / 4);
  GenerationRequest request = options_.answer;
  try {
    auto prompt = conversation_.prompt([this](const std::string& all) { return tokenizer_.encode(all); }, most);
    if (prompt.num_left_out > 0)
      notice("the oldest {} messages are left out from now on: the context of {} tokens is full", prompt.num_left_out,
             context);
    request.prompt = std::move(prompt.tokens);
    if (request.prompt.empty()) fail("this is no token");
  } catch (const Error&) {
    if (text) conversation_.undo();
    throw;
  }
  request.ticket = num_answers_;
  request.draw_sequence = static_cast<std::uint64_t>(num_answers_++);
  const auto& stops = options_.form.stop_strings();
  request.stop_strings.insert(request.stop_strings.end(), stops.begin(), stops.end());
  request.streams = true;
  engine_.submit(std::move(request));
  answering_ = true;
}

void ChatSession::retry() {
  if (!conversation_.drop_answer()) fail("there is no answer to replace");
  ask(std::nullopt);
}

void ChatSession::set(const std::string& assignment) {
  const auto [name, value] = split(assignment);
  std::string all;
  for (const auto& [known, now] : options_.settings) all += fmt::format("{}{} {}", all.empty() ? "" : ", ", known, now);
  if (name.empty()) return notice("{}", all);
  if (!options_.settings.contains(name) || value.empty()) fail("/set takes a name and a value; now: {}", all);
  auto settings = options_.settings;
  settings[name] = value;
  std::vector<std::string> arguments;
  for (const auto& [option, text] : settings) arguments.push_back(fmt::format("--{}={}", option, text));
  GenerationRequest answer = options_.answer;
  try {
    parse("chat", arguments, answer_options(answer));
  } catch (const Error& error) {  // without what it says of the command line
    const std::string reason = error.what();
    fail("/set {}: {}", name, reason.substr(0, reason.find("; see moesaic")));
  }
  options_.answer = std::move(answer);
  options_.settings = std::move(settings);
}

void ChatSession::save(const std::string& file) {
  if (file.empty()) fail("/save takes a file's name");
  if (file != saved_file_ && std::filesystem::exists(file))
    fail("{}: is there already; give another name, or remove it", file);
  if (conversation_.messages().empty()) fail("there is nothing to save");
  check_writable(file, "/save", {options_.store});
  write_text(file, conversation_.json());
  saved_file_ = file;
  notice("{} messages in {}", conversation_.messages().size(), file);
}

void ChatSession::load(const std::string& file) {
  if (file.empty()) fail("/load takes a file's name");
  conversation_.load(io::read_text_file(file, static_cast<std::int64_t>(openai::kLargestLine_bytes)), file);
  saved_file_ = file;
  notice("{} messages from {}", conversation_.messages().size(), file);
}

std::string ChatSession::stats() const {
  const Metrics metrics = engine_.metrics();
  return fmt::format(
      "{} answers: {} prompt tokens ({} of them found in the KV cache), {} drawn; prefill {:.1f} tokens/s, decode "
      "{:.1f} "
      "tokens/s",
      num_answers_, metrics.prompt_tokens, metrics.shared_tokens, metrics.drawn_tokens, metrics.prefill.tokens_per_s(),
      metrics.decode.tokens_per_s());
}

void ChatSession::finish(const RequestFinished& finished) {
  const Continuation& result = finished.result;
  put(finished.last_text + "\n");
  answering_ = false;
  const std::string text = options_.raw ? result.text : trimmed(result.text);
  if (!text.empty())
    conversation_.add_answer(text);
  else if (!options_.raw && conversation_.undo())
    notice("(no answer: the message is taken back)");
  if (result.finish_reason == FinishReason::kLength)
    notice("(stopped after {} tokens; /set max-tokens changes it)", result.tokens.size());
  if (result.finish_reason == FinishReason::kContext)
    notice("(the context of {} tokens is full)", config_.sequence_len);
  if (result.finish_reason == FinishReason::kCancelled) notice("(stopped)");
}

/// An answer in hand is stopped, or the session ends.
void ChatSession::stop(int signal) {
  host::StopSignals::clear();
  if (answering_ && signal != SIGTERM) return engine_.cancel(num_answers_ - 1);
  notice("\nstopped by signal {}", signal);
  stopped_ = true;
}

}  // namespace moesaic::apps
