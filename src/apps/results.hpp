#pragma once

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

/// The results of a command, on rank 0: a text on standard output, or in the file that an option names. mpirun and srun
/// read the ranks' standard output and do not say when they cannot write it on (a full disk), so only the file is safe
/// there.
namespace moesaic::apps {

/// Whether the command's --output and -o are free to name the file, or have another meaning: a format, or a file beside
/// an --out. Then the file is --output-file, which names it everywhere.
enum class OutputOption : bool { kFree, kTaken };

/// The option that names the file; takes effect as it is parsed.
boost::program_options::options_description result_options(OutputOption output = OutputOption::kFree);

/// On rank 0, before work begins: makes the place of the file, if there is one. Error when it cannot be written or is
/// one of `others`, files that the command uses too. Without this call a command has no results.
void open_results(std::initializer_list<std::string> others);

/// Keeps text until it is written by put(), show() or finish_results().
void print(std::string_view text);
template <class... Args>
requires(sizeof...(Args) > 0) void print(fmt::format_string<Args...> format, Args&&... args) {
  print(std::string_view(fmt::format(format, std::forward<Args>(args)...)));
}

/// Writes text, and what was kept before, at once. Error when it cannot be written.
void put(std::string_view text);

/// Writes as put() does, for rank 0 amid work of all ranks, which an error of one would leave waiting: finish_results()
/// throws the error.
void show(std::string_view text);

/// After an error: what was kept for standard output is written, since it may help; a file is not made.
void give_up_results();

/// After the last result, whatever it says: writes what was kept, gives the file its name once its content is on the
/// device, and logs how many lines there are. Error when something could not be written.
void finish_results();

}  // namespace moesaic::apps
