#include "comm/transport.hpp"

#include <fmt/format.h>
#include <mpi.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

namespace moesaic::comm {
namespace {

/// Components of a framework that are open: "pml_ob1_..." is a variable of ob1. Those that were not chosen are closed,
/// and their variables gone.
struct OpenComponents {
  std::set<std::string> pml, btl, mtl;
};

OpenComponents open_components() {
  OpenComponents open;
  int provided = 0, num = 0;
  // The level that MPI itself was asked for: Open MPI 4.1's MPI_Query_thread tells the last one asked for anywhere.
  if (MPI_T_init_thread(MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) return open;
  if (MPI_T_cvar_get_num(&num) != MPI_SUCCESS) num = 0;
  for (int i = 0; i < num; ++i) {
    char text[256] = {};
    int size = sizeof text, verbosity = 0, binding = 0, scope = 0;
    MPI_Datatype type = MPI_DATATYPE_NULL;
    if (MPI_T_cvar_get_info(i, text, &size, &verbosity, &type, nullptr, nullptr, nullptr, &binding, &scope) !=
        MPI_SUCCESS)
      continue;
    const std::string_view name(text);
    const std::size_t end = name.find('_', 4);
    if (end == std::string_view::npos) continue;
    const std::string component(name.substr(4, end - 4));
    if (component == "base" || component == "self") continue;
    if (name.starts_with("pml_")) open.pml.insert(component);
    if (name.starts_with("btl_")) open.btl.insert(component);
    if (name.starts_with("mtl_")) open.mtl.insert(component);
  }
  MPI_T_finalize();
  return open;
}

std::string join(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value ? fmt::format("{}={}", name, value) : "";
}

std::string settings(std::initializer_list<const char*> names) {
  std::string text;
  for (const char* name : names)
    if (const std::string one = setting(name); !one.empty()) text += (text.empty() ? "" : " ") + one;
  return text;
}

/// Whether a transport of Open MPI or a word of UCX_TLS stays inside a node.
bool is_local(const std::string& name) {
  static const std::set<std::string> kLocal{"vader", "sm",   "smcuda", "shm", "mm",
                                            "posix", "sysv", "xpmem",  "cma", "knem"};
  return kLocal.contains(name);
}

/// The words of UCX_TLS. None when it is not set, or forbids some ("^tcp"), or leaves the choice to UCX.
std::set<std::string> words_of_ucx_tls() {
  const char* value = std::getenv("UCX_TLS");
  std::set<std::string> words;
  std::istringstream stream(value && *value != '^' ? value : "");
  for (std::string word; std::getline(stream, word, ',');)
    if (word != "self") words.insert(word);
  return words.contains("all") ? std::set<std::string>{} : words;
}

Transport with_parts(std::string layer, const std::set<std::string>& parts, std::string text) {
  Transport transport{std::move(layer), {}, {}, std::move(text)};
  for (const std::string& part : parts) (is_local(part) ? transport.memory : transport.networks).push_back(part);
  return transport;
}

Transport ask() {
  const OpenComponents open = open_components();
  const std::string ucx = settings({"UCX_TLS", "UCX_NET_DEVICES"});
  if (open.pml.contains("ucx"))
    return with_parts("ucx", words_of_ucx_tls(),
                      fmt::format("ucx ({})", ucx.empty() ? "UCX_TLS not set: its own choice" : ucx));
  if (open.pml.contains("cm")) return with_parts("cm", open.mtl, fmt::format("cm ({})", join(open.mtl)));
  if (open.pml.empty()) return {"", {}, {}, "not told by this MPI"};
  const std::string unused = ucx.empty() ? "" : fmt::format("; {} has no effect: OMPI_MCA_pml=ucx would use UCX", ucx);
  return with_parts(join(open.pml), open.btl, fmt::format("{} ({}){}", join(open.pml), join(open.btl), unused));
}

}  // namespace

const Transport& transport_in_use() {
  static const Transport transport = ask();
  return transport;
}

const std::string& transport() { return transport_in_use().text; }

std::string doubtful_transport() {
  const auto has = [](const char* name, std::string_view word) {
    const char* value = std::getenv(name);
    return value && std::string_view(value).find(word) != std::string_view::npos;
  };
  std::error_code ignored;
  const bool infiniband = std::filesystem::exists("/sys/class/infiniband", ignored) &&
                          !std::filesystem::is_empty("/sys/class/infiniband", ignored);
  if (infiniband || !has("OMPI_MCA_pml", "ucx") || has("OMPI_MCA_pml", "^")) return "";
  const bool allowed = has("OMPI_MCA_opal_common_ucx_tls", "any") && has("OMPI_MCA_opal_common_ucx_devices", "any");
  const bool usable = !std::getenv("UCX_TLS") || has("UCX_TLS", "tcp") || has("UCX_TLS", "all") || has("UCX_TLS", "^");
  if (allowed && usable) return "";
  return fmt::format(
      "UCX is asked for ({}), but there is no InfiniBand: Open MPI refuses it then unless "
      "OMPI_MCA_opal_common_ucx_tls=any and OMPI_MCA_opal_common_ucx_devices=any are set, and UCX_TLS has to name "
      "transports that are there (tcp,sm,self). Or unset OMPI_MCA_pml",
      settings({"OMPI_MCA_pml", "UCX_TLS", "UCX_NET_DEVICES", "OMPI_MCA_opal_common_ucx_tls",
                "OMPI_MCA_opal_common_ucx_devices"}));
}

}  // namespace moesaic::comm
