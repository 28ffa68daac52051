#include "io/tokenizer.hpp"

#include <fcntl.h>
#include <sentencepiece_processor.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.hpp"

namespace moesaic::io {
namespace {

/// Loading Grok-1's 131,072 pieces takes a fifth of a second; a malformed model may loop.
constexpr unsigned kChildSeconds = 60;

/// What the child does with the model: load it and use it a little. Its answer is "+N" (pieces) or "-reason".
std::string try_model(std::string_view model) {
  try {
    const Tokenizer tokenizer = Tokenizer::from_bytes(model, "");
    const auto ids = tokenizer.encode("Once upon a time, 3 + 4 is 7.\n\xc3\xa9\xe2\x98\x83");
    (void)tokenizer.decode(ids);
    return fmt::format("+{}", tokenizer.num_pieces());
  } catch (const std::exception& error) {
    return fmt::format("-{}", error.what());
  }
}

[[noreturn]] void run_child(std::string_view model, int answer_fd) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGTERM}) std::signal(signal, SIG_DFL);
  // SentencePiece logs its reason to stderr; the answer has it.
  if (const int null = open("/dev/null", O_WRONLY); null >= 0) dup2(null, STDERR_FILENO);
  alarm(kChildSeconds);
  const std::string answer = try_model(model);
  const ssize_t written = write(answer_fd, answer.data(), answer.size());
  _exit(written == static_cast<ssize_t>(answer.size()) ? 0 : 1);
}

std::string read_all(int fd) {
  std::string text;
  char part[256];
  for (;;) {
    const ssize_t got = read(fd, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(part, static_cast<std::size_t>(got));
  }
}

}  // namespace

Tokenizer::Tokenizer() : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_bytes(std::string_view model, const std::string& source) {
  Tokenizer tokenizer;
  const auto status = tokenizer.processor_->LoadFromSerializedProto({model.data(), model.size()});
  if (!status.ok()) fail("{}: not a SentencePiece model: {}", source, status.ToString());
  return tokenizer;
}

std::int64_t Tokenizer::check_in_child(std::string_view model, const std::string& source) {
  int ends[2];
  if (pipe(ends) != 0) fail("{}: pipe: {}", source, std::strerror(errno));
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    run_child(model, ends[1]);
  }
  close(ends[1]);
  const std::string answer = child > 0 ? read_all(ends[0]) : "";
  close(ends[0]);
  if (child < 0) fail("{}: fork: {}", source, std::strerror(errno));
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail("{}: waitpid: {}", source, std::strerror(errno));
  if (WIFSIGNALED(status))
    fail("{}: not a usable SentencePiece model: loading it ends with signal {} ({})", source, WTERMSIG(status),
         strsignal(WTERMSIG(status)));
  if (answer.empty() || answer[0] != '+')
    fail("{}: {}", source,
         answer.empty() ? "the tokenizer check gave no answer" : answer.substr(answer.find_first_not_of("-: ")));
  return std::stoll(answer.substr(1));
}

std::int64_t Tokenizer::num_pieces() const { return processor_->GetPieceSize(); }

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int> ids;
  const auto status = processor_->Encode({text.data(), text.size()}, &ids);
  if (!status.ok()) fail("the tokenizer cannot encode {} bytes of text: {}", text.size(), status.ToString());
  return {ids.begin(), ids.end()};
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::vector<int> pieces(ids.begin(), ids.end());
  for (int& id : pieces) id = known(id);
  std::string text;
  const auto status = processor_->Decode(pieces, &text);
  if (!status.ok()) fail("the tokenizer cannot decode {} ids: {}", ids.size(), status.ToString());
  return text;
}

int Tokenizer::known(std::int32_t id) const {
  return id < 0 || id >= processor_->GetPieceSize() ? processor_->unk_id() : id;
}

bool Tokenizer::is_byte(std::int32_t id) const { return processor_->IsByte(known(id)); }

std::string Tokenizer::name(std::int32_t id) const { return processor_->IdToPiece(known(id)); }

std::string Tokenizer::piece(std::int32_t id) const {
  const int piece = known(id);
  if (processor_->IsControl(piece)) return "";
  if (processor_->IsUnknown(piece)) return decode({&id, 1});
  const std::string& name = processor_->IdToPiece(piece);
  if (processor_->IsByte(piece)) {  // "<0x0A>"
    constexpr int kHex = 16, kDigits_begin = 3;
    return {static_cast<char>(std::stoi(name.substr(kDigits_begin, 2), nullptr, kHex))};
  }
  constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581
  std::string text;
  for (std::size_t i = 0; i < name.size();) {
    const bool space = std::string_view(name).substr(i).starts_with(kSpace);
    text += space ? ' ' : name[i];
    i += space ? kSpace.size() : 1;
  }
  return text;
}

}  // namespace moesaic::io
