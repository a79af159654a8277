// What a run leaves in its folder.

#include <cmath>
#include <map>
#include <set>

#include "io/safetensors.h"
#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class RunFolder : public TribTest {
 protected:
  void SetUp() override { write("g.yaml", kMaeGraph); }
};

// Measuring may take long, and leaves nothing worth waiting for.
TEST_F(RunFolder, AnInterruptBeforeTheFirstStepEndsAtOnce) {
  ProgramOptions options;
  options.timeout = 30;
  options.signal = SIGINT;
  options.signal_when = [this] { return exists("r/environment.json"); };
  const ProgramResult result =
      trib({"run", "g.yaml", "-q", "--run-dir", "r", "--set", "images.delay=500ms", "--set",
            "images.items=2000", "--set", "scaled.samples=1500"},
           options);
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_LT(result.seconds, 20);
}

TEST_F(RunFolder, ResolvedGraphRunsAgain) {
  run("g.yaml", "first", {"--set", "train.lr=1e-3", "--set", "batches.shuffle=0"});
  EXPECT_THAT(text("first/graph.yaml"), ContainsRegex("lr: 1e-3 +# --set train.lr=1e-3"));
  run("first/graph.yaml", "second");
  EXPECT_EQ(losses("second").size(), 20U);
  EXPECT_EQ(losses("first"), losses("second"));
  EXPECT_EQ(text("first/statistics/scaled.json"), text("second/statistics/scaled.json"));
}

TEST_F(RunFolder, StatisticsCanBeUsedAgain) {
  run("g.yaml", "first");
  run("g.yaml", "second", {"--set", "scaled.stats=first/statistics/scaled.json"});
  EXPECT_EQ(text("first/statistics/scaled.json"), text("second/statistics/scaled.json"));
  EXPECT_EQ(losses("first"), losses("second"));
  const auto channels = json("first/statistics/scaled.json")["channels"];
  EXPECT_EQ(channels.size(), 6U);
  EXPECT_GT(channels["c005"]["std"], 0.5);
}

TEST_F(RunFolder, MetricsAgreeAsLinesAndAsTable) {
  run("g.yaml", "r");
  const auto rows = table("r/metrics.csv");
  const auto objects = lines("r/metrics.jsonl");
  ASSERT_EQ(rows.size(), 22U) << "a header, the evaluation before the first step and 20 steps";
  ASSERT_EQ(objects.size() + 1, rows.size());
  int evaluations = 0;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const auto object = nlohmann::json::parse(objects[i]);
    const auto& cells = rows[i + 1];
    ASSERT_EQ(cells.size(), rows[0].size());
    EXPECT_EQ(object["step"], i);
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string& name = rows[0][c];
      ASSERT_EQ(object.contains(name), !cells[c].empty()) << name << " of step " << i;
      if (!cells[c].empty()) {
        EXPECT_EQ(object[name].get<double>(), std::stod(cells[c])) << name;
      }
    }
    evaluations += object.contains("eval_loss") ? 1 : 0;
  }
  EXPECT_EQ(evaluations, 3);
  const auto found = losses("r");
  EXPECT_LT(std::stod(found.back()), std::stod(found.front()));
}

TEST_F(RunFolder, ReadingOverlapsTheModel) {
  run("g.yaml", "r",
      {"--set", "images.delay=3ms", "--set", "tokens.dim=64", "--set", "encoder.depth=4", "--set",
       "images.size=32"});
  struct Span {
    double begin, end;
    std::string track;
  };
  std::vector<Span> reads, steps;
  std::set<std::string> categories;
  for (const auto& event : json("r/trace.json")) {
    if (event["ph"] != "X") continue;
    const std::string category = event["cat"];
    categories.insert(category);
    const double begin = event["ts"];
    const Span span{begin, begin + event["dur"].get<double>(), event["tid"].dump()};
    if (category == "io") reads.push_back(span);
    if (category == "forward" || category == "backward") steps.push_back(span);
  }
  for (const char* category : {"io", "ingest", "measure", "forward", "backward", "optimizer"}) {
    EXPECT_TRUE(categories.contains(category)) << category;
  }
  EXPECT_GE(steps.size(), 2 * 4 * 20U);
  int overlapping = 0;
  for (const Span& step : steps) {
    for (const Span& read : reads) {
      if (step.track != read.track && step.begin < read.end && read.begin < step.end) {
        ++overlapping;
        break;
      }
    }
  }
  EXPECT_GT(overlapping, 20) << "of " << steps.size() << " spans, with " << reads.size()
                             << " reads";
}

TEST_F(RunFolder, EnvironmentAndSummary) {
  ProgramOptions options;
  options.environment["TRIB_TESTED"] = "yes";
  const ProgramResult result = trib({"run", "g.yaml"}, options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto environment = json("runs/g/environment.json");
  for (const char* key : {"trib", "compiler", "blas", "mpi", "ranks", "mesh", "compute_threads",
                          "io_threads", "hardware", "variables"}) {
    EXPECT_TRUE(environment.contains(key)) << key;
    EXPECT_FALSE(environment[key] == "") << key;
  }
  EXPECT_EQ(environment["ranks"], 1);
  EXPECT_EQ(environment["mesh"]["data"], 1);
  EXPECT_EQ(environment["io_threads"], 2);
  EXPECT_EQ(environment["variables"]["TRIB_TESTED"], "yes");
  EXPECT_GT(environment["hardware"]["memory_bytes"], 0);

  const auto summary = json("runs/g/summary.json");
  const auto found = losses("runs/g");
  EXPECT_EQ(summary["training"]["steps"], 20);
  EXPECT_EQ(summary["training"]["batch_size"], 8);
  EXPECT_EQ(summary["training"]["first_loss"].get<double>(), std::stod(found.front()));
  EXPECT_EQ(summary["training"]["last_loss"].get<double>(), std::stod(found.back()));
  EXPECT_GT(summary["training"]["samples_per_second"], 0);
  EXPECT_LT(summary["training"]["last_evaluation"]["eval_loss"],
            summary["training"]["first_evaluation"]["eval_loss"]);
  EXPECT_EQ(summary["skipped"], 0);
  EXPECT_GT(summary["peak_rss_bytes"], 10'000'000);
  EXPECT_THAT(result.err, HasSubstr("20 steps of 8 samples in "));
  EXPECT_THAT(result.err, HasSubstr("results in runs/g"));
}

TEST_F(RunFolder, EveryRunHasAFolderOfItsOwn) {
  const Arguments quick{"run",   "g.yaml",    "-q",    "--set",   "train.steps=2",
                        "--set", "name=mine", "--set", "runs=all"};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(trib(quick).exit_code, 0);
  for (const char* folder : {"all/mine", "all/mine-2", "all/mine-3"}) {
    EXPECT_EQ(losses(folder).size(), 2U) << folder;
  }
  const ProgramResult again = trib(quick + Arguments{"--run-dir", "all/mine"});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, HasSubstr("all/mine: not empty; a run needs a folder of its own"));
}

TEST_F(RunFolder, CaptureHoldsTensorsParametersAndGradients) {
  run("g.yaml", "r",
      {"--capture", "batches,tokens,channels,encoder,recon", "--capture-step", "3",
       "--capture-gradients"});
  const io::SafetensorsFile file(path("r/capture/step-3.safetensors"));
  EXPECT_EQ(file.entry("batches.x_bchw").shape, (Shape{8, 6, 16, 16}));
  std::map<std::string, Shape> parameters, gradients;
  std::set<std::string> nodes;
  for (const auto& entry : file.entries()) {
    const std::size_t dot = entry.name.find('.');
    const std::string owner = entry.name.substr(0, dot), name = entry.name.substr(dot + 1);
    if (owner == "parameters") {
      parameters[name] = entry.shape;
    } else if (owner == "gradients") {
      gradients[name] = entry.shape;
    } else {
      nodes.insert(owner);
    }
    const Tensor values = file.read(entry.name);
    if (entry.dtype != DType::f32) continue;
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      ASSERT_TRUE(std::isfinite(values.data<float>()[i])) << entry.name;
    }
  }
  EXPECT_EQ(parameters, gradients);
  EXPECT_TRUE(parameters.contains("blocks.0.attn.qkv.weight"));
  EXPECT_EQ(parameters["blocks.0.attn.qkv.weight"], (Shape{48, 16}));
  EXPECT_EQ(nodes, (std::set<std::string>{"batches", "tokens", "channels", "encoder", "recon"}));
  // Each edge has a tensor of its own, though the encoder works on what the aggregation gave.
  const Tensor merged = file.read("channels.x"), encoded = file.read("encoder.x");
  ASSERT_EQ(merged.numel(), encoded.numel());
  EXPECT_FALSE(std::equal(merged.data<float>(), merged.data<float>() + merged.numel(),
                          encoded.data<float>()));

  // The gradient's norm is the one of the metrics.
  double sum = 0;
  for (const auto& [name, shape] : gradients) {
    const Tensor values = file.read("gradients." + name);
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      sum += std::pow(static_cast<double>(values.data<float>()[i]), 2);
    }
  }
  const double norm = std::stod(column("r", "grad_norm")[2]);
  EXPECT_NEAR(std::sqrt(sum), norm, 1e-5 * norm);
}

TEST_F(RunFolder, CaptureRefusesWhatItCannotGive) {
  for (const auto& [arguments, message] : std::vector<std::pair<Arguments, std::string>>{
           {{"--capture", "encodr"}, "--capture: no node 'encodr'; did you mean 'encoder'?"},
           {{"--capture", "images"},
            "--capture: 'images' is a read.synthetic; batch and model nodes can be captured"},
           {{"--capture", "recon", "--capture-step", "21"},
            "--capture-step 21: the run has steps 1 to 20"}}) {
    const ProgramResult result = trib(Arguments{"run", "g.yaml", "-q"} + arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr("error: " + message));
  }
}

TEST_F(RunFolder, DivergenceIsARuntimeError) {
  const ProgramResult result =
      trib({"run", "g.yaml", "-q", "--run-dir", "r", "--set", "train.lr=1e30", "--set",
            "train.clip_norm=0", "--set", "train.evaluate_every=0"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err,
              ContainsRegex("error: node 'train' \\(batch [0-9]+\\): diverged at step"));
  EXPECT_GE(losses("r").size(), 1U) << "the steps before are kept";
}

}  // namespace
}  // namespace trib::test
