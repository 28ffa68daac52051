#include "apps/command.hpp"
#include "apps/options.hpp"
#include "apps/parse_options.hpp"
#include "apps/results.hpp"
#include "base/error.hpp"
#include "engine/layer_hashes.hpp"

namespace moesaic::apps {

int run_diff(const std::vector<std::string>& arguments) {
  std::string a, b;
  po::options_description options("diff A B: compares files of --hash-layers");
  options.add_options()("first", po::value(&a)->required(), "file A")("second", po::value(&b)->required(), "file B");
  options.add(result_options());
  po::positional_options_description positional;
  positional.add("first", 1).add("second", 1);
  const auto map = parse("diff", arguments, options, positional);
  if (map.contains("help")) return kSuccess;

  open_results({a, b});
  const LayerHashFile first = read_layer_hashes(a), second = read_layer_hashes(b);
  if (first.header != second.header) print("note: made with{} and with{}\n", first.header, second.header);
  const auto difference = first_difference(first, second);
  if (!difference) {
    print("identical: {} hashes\n", first.hashes.size());
    return kSuccess;
  }
  print("first difference: {}\n", *difference);
  return kFailed;
}

}  // namespace moesaic::apps
