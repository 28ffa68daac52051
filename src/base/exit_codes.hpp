#pragma once

namespace moesaic {

/// Exit codes of every subcommand. (slurm/resume.sh makes an 86 of its own from an 85.)
enum ExitCode : int {
  kSuccess = 0,
  kFailed = 1,     ///< a rank failed in mid-run, the job stood still, or a check found something wrong
  kRefused = 2,    ///< what the user can mend: an option, a file, too little memory. Nothing was computed
  kWorkLeft = 85,  ///< stopped cleanly by a signal or a time limit; the same command continues
  kAllErrors = 87  ///< all is done, and every result is an error
};

}  // namespace moesaic
