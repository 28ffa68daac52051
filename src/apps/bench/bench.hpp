#pragma once

#include <string>
#include <vector>

#include "apps/table_output.hpp"

/// `moesaic bench`: each benchmark measures the machine's own limits in the same run, checks what it times,
/// and ends with kFailed when a result is wrong.
namespace moesaic::apps::bench {

using namespace measure;  // a benchmark is options and a table around what src/measure does

/// The names of all benchmarks.
std::vector<const char*> names();

int run_machine(const std::vector<std::string>& arguments);
int run_kernels(const std::vector<std::string>& arguments);
int run_model(const std::vector<std::string>& arguments);
int run_dispatch(const std::vector<std::string>& arguments);
int run_load(const std::vector<std::string>& arguments);

}  // namespace moesaic::apps::bench
