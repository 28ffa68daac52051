#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/sampler.hpp"
#include "engine/scheduler.hpp"
#include "start/session.hpp"

/// Options that several commands share, each declared once: name, default, unit, range, help.
namespace moesaic::apps {

namespace po = boost::program_options;
using start::ModelOptions;

/// How options are spelled: none by its first letters alone.
inline constexpr int kOptionStyle = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;

/// A number option whose value must lie in [low, high]; `text` is its help.
template <class T>
po::typed_value<T>* ranged(T* into, const char* option, T low, T high);

/// --pp --dp --tp --ep --etp.
po::options_description layout_options(plan::LayoutRequest& request);

/// --dispatch, --node-ranks, --machine.
po::options_description dispatch_options(plan::DispatchRequest& request);

/// --dispatch-payload.
po::options_description payload_options(DispatchPayload& payload);

/// --replicas, --placement.
po::options_description placement_options(plan::PlacementRequest& request);

/// --model, --numerics, --isa, --threads, --bind, --verify, the layout, copies of experts, dispatch and its payload.
/// With thread_list, --threads may be a list and goes there, as it is.
po::options_description model_options(ModelOptions& options, std::string* thread_list = nullptr);

/// --wait-timeout, --wait-matrix: they take effect as they are parsed; main prints the matrix. `defaults`: of the
/// timeout, for the help.
po::options_description wait_options(const char* defaults = "300 while loading, 60 while running");

/// Applies the --wait-timeout of arguments that have yet to be parsed, if it is right.
void take_wait_timeout(const std::vector<std::string>& arguments);

/// --prefill-chunk.
po::options_description run_options(std::int64_t& prefill_chunk);

/// --two-batch-overlap.
po::options_description overlap_options(std::int64_t& overlap_rows);

/// --kv-memory.
po::options_description kv_options(std::int64_t& kv_memory_mib);

/// Error when one of the texts of --stop is empty.
void check_stop_strings(const std::vector<std::string>& stop_strings);

/// --temperature, --top-k, --top-p, --repetition-penalty, --seed.
po::options_description sampling_options(SamplingOptions& options);

/// A --seed of 64 bits.
po::typed_value<std::string>* seed(std::uint64_t* into, const char* fallback);

/// The integers of a list that commas separate; Error, which names the option, unless all lie in [low, high].
std::vector<std::int64_t> parse_list(const std::string& text, const char* option, std::int64_t low, std::int64_t high);

/// Throws Error when `file` cannot be created or replaced (option names it: "output", or of a chat "/save"), or is one
/// of `others`, which the command uses too; leaves it as it was, or absent. An empty name is no file.
void check_writable(const std::string& file, const char* option, const std::vector<std::string>& others);

/// Writes a result whole or not at all; Error that names the file and the reason.
void write_text(const std::string& file, const std::string& text);

}  // namespace moesaic::apps
