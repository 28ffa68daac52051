#pragma once

namespace moesaic::host {

/// While it lives, SIGINT, SIGTERM and SIGUSR1 ask a run to stop where it can, or the writing of a store, so that its
/// temporary file is removed.
class StopSignals {
 public:
  /// first: the signals before it in SIGINT, SIGTERM, SIGUSR1 keep their effect.
  explicit StopSignals(int first = 0);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Ignores signals that still come, after this object's life too: the run ends already, and other ranks get the
  /// signal later.
  void ignore() { ignores_ = true; }
  /// Number of the signal that has come; 0: none.
  static int received();
  /// Forgets the signal that has come, since it is dealt with; later ones count anew.
  static void clear();
  /// Throws Error once a signal has come.
  static void check();

 private:
  using Handler = void (*)(int);
  Handler before_[3];
  int first_;
  bool ignores_ = false;
};

}  // namespace moesaic::host
