// What a person sees while a run goes on: a bar on a terminal, a line now and then in a log.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

namespace trib::pipeline {

class Progress {
 public:
  /// Silent unless `visible` (rank 0). A terminal gets a bar, anything else lines.
  explicit Progress(bool visible);
  ~Progress();

  /// Begin a phase with `total` units; 0 if unknown.
  void begin(const std::string& phase, std::int64_t total);
  /// Units done so far, with what else is worth a look ("loss 0.123 | 812 samples/s").
  void update(std::int64_t done, const std::string& details);
  /// End the phase with a closing line.
  void end(const std::string& summary);
  /// Take the bar away, so that something else can be printed.
  void clear();
  /// Print a line without breaking the bar.
  void say(const std::string& line);

 private:
  void draw(std::int64_t done, const std::string& details);
  void erase_bar();

  const bool visible_;
  const bool terminal_;
  std::mutex mutex_;
  std::string phase_;
  std::int64_t total_ = 0;
  double began_ = 0;
  double last_drawn_ = 0;
  bool bar_shown_ = false;
};

/// "1h 02m", "3m 20s", "12s".
std::string format_duration(double seconds);

/// "12.3 MB", with powers of 1000.
std::string format_bytes(double bytes);

}  // namespace trib::pipeline
