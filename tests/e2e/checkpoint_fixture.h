// What tests of checkpoints share: a small training, and what is to be equal after a resume.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint.h"
#include "tests/e2e/trib_test.h"

namespace trib::test {

/// A masked autoencoder whose steps are slowed down by its reads, so that checkpoints are due while
/// it runs. 96 images are trained on: 12 steps are an epoch.
inline constexpr const char* kResumableGraph = R"(seed: 3
checkpoints: {every: 5, minutes: 0, keep: 3}
nodes:
  images:   {type: read.synthetic, items: 120, channels: 6, size: 16, holdout: 0.2, delay: 2ms}
  scaled:   {type: normalize, from: images, samples: 40}
  batches:  {type: batch, from: scaled, size: 12, shuffle: 24}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 16}
  channels: {type: model.aggregate, from: tokens, heads: 2}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  recon:    {type: model.mae_head, from: encoder, dim: 16, depth: 1, heads: 2}
  train:    {type: train, from: recon, steps: 40, lr: 2e-3, evaluate_every: 10, evaluate_samples: 12}
)";

class CheckpointTest : public TribTest {
 protected:
  void SetUp() override { write("g.yaml", kResumableGraph); }

  static Arguments set(const std::vector<std::string>& values) {
    Arguments arguments;
    for (const std::string& value : values) arguments = arguments + Arguments{"--set", value};
    return arguments;
  }
  Arguments resume(const std::string& folder) const {
    return {"run", "g.yaml", "--run-dir", folder, "-q", "--log-samples", "--resume"};
  }
  std::string checkpoint(const std::string& folder, std::int64_t step) const {
    return path(folder + "/checkpoints/step-" + std::to_string(step));
  }
  /// Whether there is a checkpoint of `step` or a later one; one that is due while another is being
  /// written comes a little late.
  bool has_checkpoint(const std::string& folder, std::int64_t step) const {
    const auto all = io::list_checkpoints(path(folder + "/checkpoints"));
    return !all.empty() && std::stoll(all[0].substr(all[0].rfind('-') + 1)) >= step;
  }
  /// Steps of the checkpoints of a run, newest first.
  std::vector<std::int64_t> checkpoint_steps(const std::string& folder) const {
    std::vector<std::int64_t> steps;
    for (const std::string& found : io::list_checkpoints(path(folder + "/checkpoints"))) {
      steps.push_back(io::Checkpoint(found).index().step);
    }
    return steps;
  }

  /// Run on `ranks` until there is a checkpoint of `step` or later, then end the ranks with
  /// `signal`.
  ProgramResult run_until_checkpoint(const std::string& folder, std::int64_t step, int signal,
                                     const Arguments& more = {}, int ranks = 1) const {
    ProgramOptions options;
    bool sent = false;
    options.watch = [&](pid_t pid) {
      if (sent || !has_checkpoint(folder, step)) return;
      sent = true;
      for (const pid_t rank : ranks == 1 ? std::vector{pid} : children(pid)) kill(rank, signal);
    };
    const Arguments arguments = resume(folder) + more;
    ProgramResult result =
        ranks == 1 ? trib(arguments, options) : mpirun(ranks, arguments, options);
    EXPECT_TRUE(sent) << "ended before its checkpoint of step " << step << ":\n" << result.err;
    return result;
  }

  /// Every state of every tensor of a checkpoint, whole.
  using State = std::map<std::string, std::vector<float>>;
  State state(const std::string& folder, std::int64_t step) const {
    const io::Checkpoint opened(checkpoint(folder, step));
    EXPECT_EQ(opened.verify(), std::vector<std::string>{});
    State all;
    for (const auto& [name, tensor] : opened.index().tensors) {
      for (const char* kind : {io::kValueState, io::kExpAvgState, io::kExpAvgSqState}) {
        const Tensor whole = opened.read_whole(name, kind);
        all[name + "/" + kind] = {whole.data<float>(), whole.data<float>() + whole.numel()};
      }
    }
    EXPECT_GT(all.size(), 60U);
    return all;
  }
  /// What a row of the metrics says that no clock has a part in; the untrained model's row too.
  std::vector<std::string> rows(const std::string& folder) const {
    std::vector<std::string> found;
    const auto all = table(folder + "/metrics.csv");
    for (const auto& row : all) {
      std::string text;
      for (std::size_t i = 0; i < row.size(); ++i) {
        const std::string& name = all[0][i];
        const bool is_compared = name == "step" || name == "epoch" || name == "loss" ||
                                 name == "lr" || name == "grad_norm";
        if (is_compared) text += row[i] + " ";
      }
      found.push_back(text);
    }
    return found;
  }
  void expect_same_training(const std::string& folder, const std::string& reference,
                            std::int64_t steps) const {
    EXPECT_EQ(losses(reference).size(), static_cast<std::size_t>(steps));
    EXPECT_EQ(rows(folder), rows(reference));
    const State found = state(folder, steps), expected = state(reference, steps);
    for (const auto& [name, values] : expected) {
      EXPECT_TRUE(found.at(name) == values) << name << " differs";
    }
  }
  /// The same to rounding, for runs on other meshes.
  void expect_close_training(const std::string& folder, const std::string& reference,
                             std::int64_t steps, double tolerance) const {
    const auto found = losses(folder), expected = losses(reference);
    ASSERT_EQ(expected.size(), static_cast<std::size_t>(steps));
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double value = std::stod(expected[i]);
      EXPECT_NEAR(std::stod(found[i]), value, tolerance * std::abs(value)) << "step " << i + 1;
    }
  }

  /// Positions of the stream that a run used, by update, from the logs of all ranks.
  std::map<std::int64_t, std::vector<std::uint64_t>> used_positions(
      const std::string& folder) const {
    std::map<std::int64_t, std::vector<std::uint64_t>> used;
    for (const auto& entry : std::filesystem::directory_iterator(path(folder + "/samples"))) {
      const std::string name = folder + "/samples/" + entry.path().filename().string();
      for (const auto& row : table(name)) {
        if (row[0] == "step") continue;
        used[std::stoll(row[0])].push_back(std::stoull(row[1]));
      }
    }
    for (auto& [step, positions] : used) std::sort(positions.begin(), positions.end());
    return used;
  }
  /// Without skips update k uses the k-th batch of the stream, whatever ranks share it: nothing is
  /// used twice or left out.
  void expect_each_sample_once(const std::string& folder, std::int64_t steps,
                               std::uint64_t batch_size) const {
    const auto used = used_positions(folder);
    ASSERT_EQ(used.size(), static_cast<std::size_t>(steps));
    std::uint64_t next = 0;
    for (const auto& [step, positions] : used) {
      ASSERT_EQ(positions.size(), batch_size) << "step " << step;
      for (const std::uint64_t position : positions) {
        ASSERT_EQ(position, next++) << "step " << step;
      }
    }
  }

  /// Processes that a program has started.
  static std::vector<pid_t> children(pid_t parent) {
    std::vector<pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      // "pid (name) state parent ..."; the name may hold anything.
      const std::string status = read_text(entry.path().string() + "/stat");
      const std::size_t close = status.rfind(')');
      if (close == std::string::npos || close + 4 >= status.size()) continue;
      if (std::stol(status.substr(close + 4)) == parent) found.push_back(std::stoi(name));
    }
    return found;
  }
};

}  // namespace trib::test
