#include "xai/convert.hpp"
#include "apps/command.hpp"
#include "base/error.hpp"

namespace moesaic::apps {

int run_convert(const std::vector<std::string>& arguments) {
  namespace po = boost::program_options;
  converters::ConvertOptions convert;
  std::string from, tokenizer;
  po::options_description options("convert --from xai CKPT_DIR --out FILE");
  // clang-format off
  options.add_options()
      ("from", po::value(&from)->required(), "format of the checkpoint: xai")
      ("checkpoint", po::value(&convert.checkpoint)->required(), "folder ckpt-0, or the one that holds it (also without the option's name)")
      ("out", po::value(&convert.out)->required(), "the store to write")
      ("tokenizer", po::value(&tokenizer), "SentencePiece model; default: tokenizer.model beside ckpt-0")
      ("force", po::bool_switch(&convert.force), "replace an existing store");
  // clang-format on
  po::positional_options_description positional;
  positional.add("checkpoint", 1);
  if (parse("convert", arguments, options, positional).contains("help")) return kSuccess;
  if (from != "xai") fail("--from is '{}', expected xai", from);
  if (!tokenizer.empty()) convert.tokenizer = tokenizer;
  converters::convert_xai(convert, comm::Communicator::world());
  return kSuccess;
}

}  // namespace moesaic::apps
