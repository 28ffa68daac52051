#include "apps/doctor/settings.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <set>

#include "base/error.hpp"
#include "comm/share.hpp"
#include "comm/watch.hpp"
#include "host/placement.hpp"

namespace moesaic::apps::doctor {
namespace {

using Found = std::vector<std::optional<std::string>>;

// A rank's values travel as one text: each is '=' and the value, or nothing where it is not set, and then a zero byte,
// which no variable holds.
std::string own_values(const std::vector<Setting>& settings) {
  std::string text;
  for (const Setting& setting : settings) {
    if (const char* value = std::getenv(setting.name.c_str())) text += std::string("=") + value;
    text += '\0';
  }
  return text;
}

Found values_in(const std::string& text) {
  Found found;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\0', begin);
    found.push_back(end == begin ? std::nullopt : std::optional(text.substr(begin + 1, end - begin - 1)));
    begin = end + 1;
  }
  return found;
}

}  // namespace

std::vector<Setting> settings_from(const std::vector<std::string>& texts) {
  std::vector<Setting> settings;
  for (const std::string& text : texts) {
    const std::size_t end = text.find('=');
    if (end == 0 || end == std::string::npos) fail("--setting is '{}', expected NAME=VALUE", text);
    settings.push_back({text.substr(0, end), text.substr(end + 1)});
  }
  return settings;
}

Findings judge_settings(const std::vector<Setting>& settings, const std::vector<Found>& found,
                        const std::vector<std::string>& hosts) {
  Findings findings;
  for (std::size_t i = 0; i < settings.size(); ++i) {
    std::map<std::optional<std::string>, std::vector<int>> others;
    for (std::size_t rank = 0; rank < found.size(); ++rank)
      if (found[rank][i] != settings[i].value) others[found[rank][i]].push_back(static_cast<int>(rank));
    for (const auto& [value, ranks] : others) {
      std::set<std::string> names;
      for (const int rank : ranks) names.insert(hosts[static_cast<std::size_t>(rank)]);
      findings.push_back({value ? Status::kWarning : Status::kFailed, "settings",
                          fmt::format("{} is '{}' in the job's script, but {} on rank{} {} ({})", settings[i].name,
                                      settings[i].value, value ? fmt::format("'{}'", *value) : "not set",
                                      ranks.size() == 1 ? "" : "s", host::ranges(ranks), joined(names, ", ")),
                          value ? "something between the script and the ranks changes it (a task prolog, mpirun's "
                                  "options): if that is not meant, set it there"
                                : "it is lost on the way: srun needs --export=ALL (see MOESAIC_SRUN), mpirun an "
                                  "-x with its name (MOESAIC_MPIRUN)"});
    }
  }
  if (findings.empty() && !settings.empty())
    findings.push_back(
        {Status::kOk, "settings", fmt::format("all ranks have the {} of the job's script", settings.size()), ""});
  return findings;
}

Findings check_settings(const comm::Communicator& world, const std::vector<Setting>& settings) {
  std::vector<Found> found;
  for (const std::string& values : comm::gather_texts(world, own_values(settings))) found.push_back(values_in(values));
  return world.rank() == 0 ? judge_settings(settings, found, comm::hosts()) : Findings();
}

}  // namespace moesaic::apps::doctor
