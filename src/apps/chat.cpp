#include "apps/chat_session.hpp"
#include "apps/command.hpp"
#include "apps/parse_options.hpp"
#include "apps/shown_command_line.hpp"
#include "base/log.hpp"
#include "comm/agree.hpp"
#include "engine/stage_table.hpp"
#include "host/stop_signals.hpp"
#include "start/kv_budget.hpp"

namespace moesaic::apps {
namespace {

struct ChatOptions {
  ModelOptions model;
  ChatSession::Options session;
  SchedulerOptions scheduler;
  std::string chat_template, system;
};

/// False: help was asked for.
bool parse_chat(const std::vector<std::string>& arguments, ChatOptions& chat) {
  po::options_description options, more("chat (docs/chat.md)");
  const po::options_description answer = answer_options(chat.session.answer);
  // clang-format off
  more.add_options()
      ("chat-template", po::value(&chat.chat_template), "plain (default), or a JSON file: how the messages become a prompt")
      ("raw", po::bool_switch(&chat.session.raw), "no template: each line goes behind the text so far, which is continued")
      ("system", po::value(&chat.system), "what the assistant is told first")
      ("stop", po::value(&chat.session.answer.stop_strings), "text that ends an answer and is not part of it; may be repeated");
  // clang-format on
  options.add(model_options(chat.model)).add(more).add(answer);
  options.add(run_options(chat.scheduler.prefill_chunk))
      .add(overlap_options(chat.scheduler.overlap_rows))
      .add(wait_options());
  const auto map = parse("chat", arguments, options);
  if (map.contains("help")) return false;
  if (chat.session.raw && !chat.chat_template.empty())
    fail("--raw and --chat-template are given, expected one of them");
  check_stop_strings(chat.session.answer.stop_strings);
  for (const auto& option : answer.options())
    chat.session.settings[option->long_name()] = text_of(map[option->long_name()].value());
  chat.session.store = chat.model.store;
  return true;
}

/// One sequence at a time, which may take the whole context. What it leaves in the KV cache is where the next begins.
plan::Workload workload_of(const start::Session& session, SchedulerOptions& scheduler) {
  const std::int64_t chunk = scheduler.prefill_chunk > 0 ? scheduler.prefill_chunk : session.config().sequence_len;
  plan::Workload workload;
  workload.batch_rows = std::max(scheduler.batch_rows, chunk);
  workload.kv_blocks = start::kv_blocks(session, workload, 0);
  scheduler.most_sequences = 1;
  scheduler.blocks_per_group = workload.kv_blocks;
  return workload;
}

}  // namespace

int run_chat(const std::vector<std::string>& arguments) {
  ChatOptions chat;
  if (!parse_chat(arguments, chat)) return kSuccess;
  start::Session session(chat.model);
  const comm::Communicator& world = session.world();
  std::optional<io::Tokenizer> tokenizer;  // rank 0's
  comm::on_root(world, [&] {
    tokenizer = session.tokenizer();
    if (!tokenizer)
      fail("{}: has no tokenizer, which a chat needs; convert again with --tokenizer FILE", chat.model.store);
    if (chat.session.raw) chat.session.form = openai::ChatTemplate::raw();
    if (!chat.chat_template.empty()) chat.session.form = openai::ChatTemplate::load(chat.chat_template);
    chat.session.form.render({{"user", ""}, {"assistant", ""}});
  });
  session.load(workload_of(session, chat.scheduler));

  Engine engine(world, session.stage(), chat.scheduler, tokenizer ? &*tokenizer : nullptr);
  std::optional<ChatSession> conversation;
  comm::on_root(world, [&] {
    conversation.emplace(chat.session, session.config(), *tokenizer, engine);
    conversation->set_system(chat.system);
    spdlog::info("{}; /help lists the commands", chat.session.raw ? "each line is continued as it is"
                                                 : chat.chat_template.empty()
                                                     ? "chat template: plain, since Grok-1 is a base model"
                                                     : "chat template: " + chat.chat_template);
  });
  host::StopSignals stop_signals;  // from here on they stop an answer, or end the session
  run(engine, conversation ? &*conversation : nullptr);
  stop_signals.ignore();
  const std::string table = stage_table(world);
  if (conversation) spdlog::info("{}\n{}", conversation->stats(), table);
  return kSuccess;
}

}  // namespace moesaic::apps
