#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/doctor/finding.hpp"
#include "comm/mpi.hpp"

namespace moesaic::apps::doctor {

/// A variable of the environment, as the script that started the job has it.
struct Setting {
  std::string name, value;
};

/// Settings of the texts of --setting; Error for one without name or '='.
std::vector<Setting> settings_from(const std::vector<std::string>& texts);

/// found[rank][i]: what the rank has for settings[i], nothing where it is not set; hosts: by rank. One finding for each
/// setting that some rank has otherwise, and one in all when there is none.
Findings judge_settings(const std::vector<Setting>& settings,
                        const std::vector<std::vector<std::optional<std::string>>>& found,
                        const std::vector<std::string>& hosts);

/// Collective: the settings against the environment of all ranks, on rank 0; empty elsewhere and without settings.
Findings check_settings(const comm::Communicator& world, const std::vector<Setting>& settings);

}  // namespace moesaic::apps::doctor
