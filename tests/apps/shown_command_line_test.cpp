#include "apps/shown_command_line.hpp"

#include <gmock/gmock.h>

namespace moesaic::apps {
namespace {

namespace po = boost::program_options;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(CommandLine, IsForAShell) {
  EXPECT_EQ(shown_command_line("generate", {"--model", "a b.h5", "--pp=2", "--tokens", "it's", "-o", ""}),
            "generate --model 'a b.h5' --pp=2 --tokens 'it'\\''s' -o ''");
}

TEST(CommandLine, HidesWhatUsersSay) {
  for (const char* option : {"--prompt", "--stop", "--system"}) {
    const std::string name = option;
    EXPECT_EQ(shown_command_line("generate", {name, "secret", "--top-k", "4"}),
              "generate " + name + " '...' --top-k 4");
    EXPECT_EQ(shown_command_line("generate", {name + "=secret=2", name + "="}),
              "generate " + name + "='...' " + name + "='...'");
    EXPECT_EQ(shown_command_line("generate", {"--stop", name, "secret"}),
              "generate --stop '...' '...'");  // refused later
    EXPECT_EQ(shown_command_line("generate", {name}), "generate " + name);
  }
  EXPECT_EQ(shown_command_line("generate", {"--prompt-file", "prompts.txt"}), "generate --prompt-file prompts.txt");
  EXPECT_EQ(shown_command_line("plan --check", {"--prompt", "512"}), "plan --check --prompt 512");
}

TEST(CommandLine, HiddenTextsStillDiffer) {
  const auto a = distinct_command_line("chat", {"--system", "secret"});
  const auto b = distinct_command_line("chat", {"--system", "another"});
  EXPECT_NE(a, b);
  EXPECT_THAT(a, Not(HasSubstr("secret")));
  EXPECT_NE(distinct_command_line("chat", {"--stop", "a b", "--stop", "c"}),
            distinct_command_line("chat", {"--stop", "a", "--stop", "b c"}));
  EXPECT_THAT(distinct_command_line("chat", {"--system", "secret", "--threads", "2"}), EndsWith(") --threads 2"));
}

TEST(CommandLine, DefaultsAreThoseNotGiven) {
  po::options_description options;
  options.add_options()("text", po::value<std::string>()->default_value("a b"))("none", po::value<std::string>())(
      "given", po::value<int>()->default_value(3))("number", po::value<int>()->default_value(-1))(
      "long", po::value<std::int64_t>()->default_value(std::int64_t{1} << 40))(
      "real", po::value<float>()->default_value(0.5f))("switch", po::bool_switch());
  po::variables_map map;
  po::store(po::command_line_parser(std::vector<std::string>{"--given", "4"}).options(options).run(), map);
  EXPECT_EQ(defaults(options, map), "--text 'a b' --number -1 --long 1099511627776 --real 0.5");
}

}  // namespace
}  // namespace moesaic::apps
