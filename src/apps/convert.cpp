#include "store/convert.hpp"
#include "apps/command.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "base/error.hpp"
#include "comm/wait.hpp"
#include "xai/convert.hpp"

namespace moesaic::apps {

int run_convert(const std::vector<std::string>& arguments) {
  converters::ConvertOptions convert;
  std::string from, tokenizer, weights;
  po::options_description options(
      "convert --from xai CKPT_DIR --out FILE\n"
      "convert --from store FILE --out FILE --weights bf16|int4");
  // clang-format off
  options.add_options()
      ("from", po::value(&from)->required(), "what is converted: xai, a checkpoint, or store, a store of int8 weights")
      ("checkpoint", po::value(&convert.checkpoint)->required(), "folder ckpt-0, or the one that holds it; or the store (also without the option's name)")
      ("out", po::value(&convert.out)->required(), "the store to write")
      ("weights", po::value(&weights), "from a store: format of the matrices, bf16 or int4; xai gives int8, as published")
      ("tokenizer", po::value(&tokenizer), "from xai: SentencePiece model; default: tokenizer.model beside ckpt-0")
      ("force", po::bool_switch(&convert.force), "replace an existing store");
  // clang-format on
  comm::set_wait_timeouts({3600, 3600});  // shares may differ by much
  options.add(wait_options("3600"));
  po::positional_options_description positional;
  positional.add("checkpoint", 1);
  if (parse("convert", arguments, options, positional).contains("help")) return kSuccess;
  if (from == "store") {
    if (!tokenizer.empty())
      fail("--tokenizer: a store keeps the tokenizer that it has; give it when converting from xai");
    if (weights.empty()) fail("--weights is missing: the format to convert the store to, bf16 or int4");
    const auto format = weight_format_from(weights);
    if (!format) fail("--weights is '{}', expected bf16 or int4", weights);
    converters::convert_store({convert.checkpoint, convert.out, *format, convert.force}, comm::Communicator::world());
    return kSuccess;
  }
  if (from != "xai") fail("--from is '{}', expected xai or store", from);
  if (!weights.empty() && weights != "int8")
    fail("--weights {}: xai checkpoints become int8 stores, as published; then convert --from store that one", weights);
  if (!tokenizer.empty()) convert.tokenizer = tokenizer;
  converters::convert_xai(convert, comm::Communicator::world());
  return kSuccess;
}

}  // namespace moesaic::apps
