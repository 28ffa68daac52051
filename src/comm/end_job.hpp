#pragma once

namespace moesaic::comm {

/// What a rank that fails ends its process with.
inline constexpr int kJobFailed = 1;

/// From here on SIGALRM ends this process, `seconds` from now, whatever it does then.
void end_after(unsigned seconds);

/// Ends the job: MPI_Abort, and this process at the latest 3 s later. with_launcher: mpirun too.
///
/// Open MPI's mpirun may wait for ever for the daemon of a node that has gone (power, network), and ignores the first
/// signals meanwhile: the batch job would hold its nodes until its time limit. So a process of its own, which mpirun
/// does not know and does not wait for, sends it SIGTERM twice and then SIGKILL, two seconds apart. It is made by ranks
/// whose parent process is an mpirun; steps of Slurm end by themselves.
[[noreturn]] void end_job(bool with_launcher);

}  // namespace moesaic::comm
