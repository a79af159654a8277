// The program `trib` as tests use it: a folder of its own, graphs written there, results read back.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/run_program.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace trib::test {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

using Arguments = std::vector<std::string>;

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class TribTest : public testing::Test {
 protected:
  /// Run `trib ARGUMENTS` in the test's folder. A hang is a failure.
  ProgramResult trib(const Arguments& arguments, ProgramOptions options = {}) const {
    return start({TRIB_PROGRAM}, arguments, std::move(options));
  }
  /// The same on several ranks.
  ProgramResult mpirun(int ranks, const Arguments& arguments, ProgramOptions options = {}) const {
    return start({TRIB_MPIEXEC, "-n", std::to_string(ranks), "--oversubscribe", "--bind-to", "none",
                  TRIB_PROGRAM},
                 arguments, std::move(options));
  }
  /// Run a graph with this run folder; it must succeed.
  void run(const std::string& graph, const std::string& folder, const Arguments& more = {},
           int ranks = 1) const {
    const Arguments arguments = Arguments{"run", graph, "--run-dir", folder, "-q"} + more;
    const ProgramResult result = ranks == 1 ? trib(arguments) : mpirun(ranks, arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  std::string path(const std::string& name) const { return folder_.file(name); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return name;
  }
  std::string text(const std::string& name) const { return read_text(path(name)); }
  bool exists(const std::string& name) const { return std::filesystem::exists(path(name)); }
  nlohmann::json json(const std::string& name) const { return nlohmann::json::parse(text(name)); }

  std::vector<std::string> lines(const std::string& name) const {
    std::vector<std::string> all;
    std::istringstream stream(text(name));
    for (std::string line; std::getline(stream, line);) all.push_back(line);
    return all;
  }
  /// Lines of a CSV file, header first.
  std::vector<std::vector<std::string>> table(const std::string& name) const {
    std::vector<std::vector<std::string>> rows;
    for (const std::string& line : lines(name)) {
      std::vector<std::string> cells{""};
      for (const char c : line) {
        if (c == ',') {
          cells.emplace_back();
        } else {
          cells.back() += c;
        }
      }
      rows.push_back(std::move(cells));
    }
    return rows;
  }
  /// One column of a run's metrics as printed, the rows of steps only.
  std::vector<std::string> column(const std::string& run_folder, const std::string& name) const {
    const auto rows = table(run_folder + "/metrics.csv");
    std::vector<std::string> values;
    if (rows.empty()) return values;
    const auto at = std::find(rows[0].begin(), rows[0].end(), name);
    EXPECT_NE(at, rows[0].end()) << "no column " << name;
    for (std::size_t i = 1; i < rows.size(); ++i) {
      if (rows[i][0] != "0")
        values.push_back(rows[i][static_cast<std::size_t>(at - rows[0].begin())]);
    }
    return values;
  }
  std::vector<std::string> losses(const std::string& run_folder) const {
    return column(run_folder, "loss");
  }

  /// Folder with the program's sample data, written once for a test program.
  static const std::string& sample_data() {
    static const TempDir folder;
    static const ProgramResult made =
        run_program({TRIB_PROGRAM, "sample-data", folder.path()}, ProgramOptions{});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return folder.path();
  }

 private:
  ProgramResult start(Arguments command, const Arguments& arguments, ProgramOptions options) const {
    options.directory = folder_.path();
    // Root is asked by Open MPI to confirm; the graphs must not depend on the caller's folders.
    options.environment.emplace("OMPI_ALLOW_RUN_AS_ROOT", "1");
    options.environment.emplace("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    options.environment.emplace("TRIB_DATA", "no-such-folder");
    ProgramResult result = run_program(command + arguments, options);
    EXPECT_FALSE(result.timed_out) << testing::PrintToString(arguments) << " hangs:\n"
                                   << result.out << result.err;
    return result;
  }

  TempDir folder_;
};

/// A small masked autoencoder; its reads can be made slow or fail by --set.
inline constexpr const char* kMaeGraph = R"(seed: 3
nodes:
  images:   {type: read.synthetic, items: 120, channels: 6, size: 16, holdout: 0.2}
  scaled:   {type: normalize, from: images, samples: 40}
  batches:  {type: batch, from: scaled, size: 8, shuffle: 24}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 16}
  channels: {type: model.aggregate, from: tokens, heads: 2}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  recon:    {type: model.mae_head, from: encoder, dim: 16, depth: 1, heads: 2}
  train:    {type: train, from: recon, steps: 20, lr: 2e-3, evaluate_every: 10, evaluate_samples: 16}
)";

/// A small forecaster of the sample data's atmosphere; needs --set vars.data=FOLDER.
inline constexpr const char* kForecastGraph = R"(seed: 5
vars: {data: sample-data}
nodes:
  fields:   {type: read.netcdf, files: "${data}/era5/*.nc", channels: [z, t2m], lead: [6h, 12h], targets: [t2m, t_850], holdout: 0.2}
  coarse:   {type: regrid, from: fields, degrees: 11.25}
  scaled:   {type: normalize, from: coarse, samples: 32}
  batches:  {type: batch, from: scaled, size: 8}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 16}
  channels: {type: model.aggregate, from: tokens, kind: linear}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 2}
  forecast: {type: model.forecast_head, from: encoder, depth: 1}
  train:    {type: train, from: forecast, steps: 20, lr: 2e-3, evaluate_every: 10, evaluate_samples: 8}
)";

}  // namespace trib::test
