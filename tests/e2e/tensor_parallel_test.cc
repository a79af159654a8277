// The tensor axis: the same numbers on any number of ranks, what they refuse, how they end.

#include <algorithm>
#include <cmath>

#include "io/safetensors.h"
#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

// 13 channels divide evenly over none of 2, 3, 4 and 8 ranks.
constexpr const char* kReconstruct = R"(seed: 3
nodes:
  images:   {type: read.synthetic, items: 120, channels: 13, size: 16, holdout: 0.2}
  scaled:   {type: normalize, from: images, samples: 40}
  batches:  {type: batch, from: scaled, size: 8, shuffle: 24}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 32}
  channels: {type: model.aggregate, from: tokens, heads: 8}
  encoder:  {type: model.encoder, from: channels, depth: 2, heads: 8}
  head:     {type: model.mae_head, from: encoder, dim: 16, depth: 1, heads: 8}
  train:    {type: train, from: head, steps: 20, lr: 1e-3, evaluate_every: 10, evaluate_samples: 16}
)";

constexpr const char* kForecast = R"(seed: 5
nodes:
  images:   {type: read.synthetic, items: 120, channels: 13, targets: 5, size: 16, holdout: 0.2}
  scaled:   {type: normalize, from: images, samples: 40}
  batches:  {type: batch, from: scaled, size: 8, shuffle: 24}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 32}
  channels: {type: model.aggregate, from: tokens, heads: 8}
  encoder:  {type: model.encoder, from: channels, depth: 2, heads: 8}
  head:     {type: model.forecast_head, from: encoder, depth: 1}
  train:    {type: train, from: head, steps: 20, lr: 1e-3, evaluate_every: 10, evaluate_samples: 16}
)";

Arguments set(const std::string& assignment) {
  return {"--set", assignment};
}

Arguments tensor(int ranks) {
  return set("mesh.tensor=" + std::to_string(ranks));
}

class TensorAxis : public TribTest {
 protected:
  static constexpr const char* kCapture = "/capture/step-2.safetensors";

  void run_captured(const std::string& folder, const Arguments& sets, int ranks = 1) const {
    run("g.yaml", folder,
        sets + Arguments{"--capture", "batches,tokens,channels,encoder,head", "--capture-gradients",
                         "--capture-step", "2"},
        ranks);
  }

  void expect_equal_losses(const std::string& a, const std::string& b,
                           double tolerance = 1e-5) const {
    for (const char* name : {"loss", "grad_norm"}) {
      const auto found = column(a, name), expected = column(b, name);
      ASSERT_EQ(found.size(), expected.size());
      ASSERT_FALSE(found.empty());
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double value = std::stod(expected[i]);
        // A norm is as exact as the gradients are.
        const double relative = name[0] == 'l' ? tolerance : 10 * tolerance;
        EXPECT_NEAR(std::stod(found[i]), value, relative * value) << name << " of step " << i + 1;
      }
    }
    EXPECT_NEAR(std::stod(column(a, "eval_loss").back()), std::stod(column(b, "eval_loss").back()),
                tolerance);
  }

  void expect_equal_gradients(const io::SafetensorsFile& found,
                              const io::SafetensorsFile& expected) const {
    double squares = 0;
    for (const auto& entry : expected.entries()) {
      if (!entry.name.starts_with("gradients.")) continue;
      for (const float v : values(expected.read(entry.name))) squares += double{v} * v;
    }
    ASSERT_GT(squares, 0);
    for (const auto& entry : expected.entries()) {
      if (entry.name.starts_with("gradients.")) {
        expect_near(found, expected, entry.name, 1e-4, 1e-7 * std::sqrt(squares));
      }
    }
  }

  // Same names and shapes; the batch to the bit, activations and gradients up to rounding.
  // (Parameters are those after a step of Adam, which makes steps of full size out of gradients
  // that are zero but for rounding.)
  void expect_equal_captures(const std::string& a, const std::string& b) const {
    const io::SafetensorsFile found(path(a + kCapture)), expected(path(b + kCapture));
    ASSERT_EQ(found.entries().size(), expected.entries().size());
    for (const auto& entry : expected.entries()) {
      ASSERT_TRUE(found.contains(entry.name)) << entry.name;
      ASSERT_EQ(found.entry(entry.name).shape, entry.shape) << entry.name;
      if (entry.name.starts_with("batches.")) {
        EXPECT_EQ(values(found.read(entry.name)), values(expected.read(entry.name))) << entry.name;
      } else if (!entry.name.starts_with("parameters.") && !entry.name.starts_with("gradients.")) {
        expect_near(found, expected, entry.name, 1e-4, 0);
      }
    }
    expect_equal_gradients(found, expected);
  }

  void expect_equal_statistics(const std::string& a, const std::string& b) const {
    const std::string expected = text(b + "/statistics/scaled.json");
    EXPECT_FALSE(expected.empty());
    EXPECT_EQ(text(a + "/statistics/scaled.json"), expected);
  }

  static std::vector<float> values(const Tensor& tensor) {
    return {tensor.data<float>(), tensor.data<float>() + tensor.numel()};
  }

  static void expect_near(const io::SafetensorsFile& found, const io::SafetensorsFile& expected,
                          const std::string& name, double of_largest, double absolute) {
    const auto a = values(found.read(name)), b = values(expected.read(name));
    ASSERT_EQ(a.size(), b.size()) << name;
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
      ASSERT_TRUE(std::isfinite(a[i])) << name;
      largest = std::max(largest, std::abs(double{b[i]}));
      difference = std::max(difference, std::abs(double{a[i]} - double{b[i]}));
    }
    EXPECT_LE(difference, of_largest * largest + absolute) << name << ", largest " << largest;
  }
};

// --- the same on any number of ranks -------------------------------------------------------------

struct Mode {
  const char* name;
  const char* graph;
  Arguments sets;
  std::vector<int> ranks;
};

void PrintTo(const Mode& mode, std::ostream* out) {
  *out << mode.name;
}

class TensorAxisModes : public TensorAxis, public testing::WithParamInterface<Mode> {};

TEST_P(TensorAxisModes, GiveTheNumbersOfOneRank) {
  const Mode& mode = GetParam();
  write("g.yaml", mode.graph);
  run_captured("one", mode.sets);
  EXPECT_LT(std::stod(losses("one").back()), std::stod(losses("one").front()));
  for (const int ranks : mode.ranks) {
    SCOPED_TRACE(std::to_string(ranks) + " ranks");
    const std::string folder = std::to_string(ranks);
    run_captured(folder, mode.sets + tensor(ranks), ranks);
    expect_equal_losses(folder, "one");
    expect_equal_captures(folder, "one");
    expect_equal_statistics(folder, "one");
  }
}

const Arguments kReplicated = set("channels.channels=replicated");
const Arguments kDchag = set("channels.hierarchy=dchag") + set("channels.partitions=8");
const Arguments kSequence = kDchag + set("encoder.sequence_parallel=true");

INSTANTIATE_TEST_SUITE_P(
    , TensorAxisModes,
    testing::Values(Mode{"ReconstructReplicated", kReconstruct, kReplicated, {2, 3, 4}},
                    Mode{"ReconstructDistributed", kReconstruct, {}, {2, 3, 4}},
                    Mode{"ReconstructDchag", kReconstruct, kDchag, {2, 3, 4, 8}},
                    Mode{"ReconstructSequence", kReconstruct, kSequence, {2, 3, 4}},
                    Mode{"ForecastReplicated", kForecast, kReplicated, {2, 3, 4}},
                    Mode{"ForecastDistributed", kForecast, {}, {2, 3, 4, 8}},
                    Mode{"ForecastDchag", kForecast, kDchag, {2, 3, 4}},
                    Mode{"ForecastSequence", kForecast, kSequence, {2, 3, 4}}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(TensorAxis, GoesWithTheDataAxis) {
  write("g.yaml", kForecast);
  run_captured("one", kDchag);
  run_captured("four", kDchag + tensor(2) + set("mesh.data=2"), 4);
  expect_equal_losses("four", "one");
  expect_equal_statistics("four", "one");
  // The first group of ranks has the first half of the batch, the second the rest.
  const io::SafetensorsFile one(path(std::string("one") + kCapture));
  const io::SafetensorsFile first(path(std::string("four") + kCapture));
  const io::SafetensorsFile second(path("four/capture/step-2.rank2.safetensors"));
  EXPECT_FALSE(exists("four/capture/step-2.rank1.safetensors"));
  std::vector<float> batch = values(first.read("batches.x_bchw"));
  const std::vector<float> rest = values(second.read("batches.x_bchw"));
  EXPECT_EQ(batch.size(), rest.size());
  batch.insert(batch.end(), rest.begin(), rest.end());
  EXPECT_EQ(batch, values(one.read("batches.x_bchw")));
  expect_equal_gradients(first, one);
  expect_equal_gradients(second, one);
}

// --- what a run tells of its ranks ---------------------------------------------------------------

TEST_F(TensorAxis, TellsMemoryAndTrafficOfItsRanks) {
  write("g.yaml", kReconstruct);
  const Arguments arguments = Arguments{"run", "g.yaml"} + kDchag;
  const ProgramResult one = trib(arguments + Arguments{"--run-dir", "one"});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_THAT(one.out + one.err, Not(HasSubstr("sent a step")));
  const ProgramResult four = mpirun(4, arguments + tensor(4) + Arguments{"--run-dir", "four"});
  EXPECT_EQ(four.exit_code, 0) << four.err;
  const std::string said = four.out + four.err;
  EXPECT_THAT(said, HasSubstr("memory of a rank (largest of 4)"));
  EXPECT_THAT(said, ContainsRegex("sent a step and rank +calls +bytes"));
  EXPECT_THAT(said, ContainsRegex("all_gather +tensor +forward +1 "));

  const auto summary = json("four/summary.json");
  const auto& ranks = summary["ranks_detail"];
  ASSERT_EQ(ranks.size(), 4U);
  std::int64_t largest = 0;
  for (std::size_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(ranks[rank]["mesh"]["tensor"], rank);
    EXPECT_EQ(ranks[rank]["mesh"]["data"], 0);
    EXPECT_EQ(ranks[rank]["memory"]["parameters"]["peak_bytes"],
              ranks[rank]["memory"]["parameters"]["predicted_bytes"]);
    EXPECT_GT(ranks[rank]["peak_rss_bytes"], 0);
    std::int64_t peak = 0;
    for (const auto& [kind, use] : ranks[rank]["memory"].items()) {
      peak += use["peak_bytes"].get<std::int64_t>();
    }
    largest = std::max(largest, peak);
  }
  std::int64_t shown = 0;
  for (const auto& [kind, use] : summary["memory"].items()) {
    shown += use["peak_bytes"].get<std::int64_t>();
  }
  EXPECT_EQ(shown, largest) << "the rank that holds most";
  EXPECT_LT(ranks[0]["memory"]["parameters"]["peak_bytes"].get<std::int64_t>(),
            json("one/summary.json")["memory"]["parameters"]["peak_bytes"].get<std::int64_t>());

  // The columns add up to the totals by key.
  for (const std::string phase : {"forward", "backward", "optimizer"}) {
    std::int64_t in_columns = 0, in_totals = 0;
    for (const std::string& cell : column("four", "sent_" + phase + "_bytes")) {
      in_columns += std::stoll(cell);
    }
    for (const auto& [key, total] : summary["traffic"].items()) {
      if (key.ends_with("." + phase)) in_totals += total["bytes"].get<std::int64_t>();
    }
    EXPECT_EQ(in_columns, in_totals) << phase;
    EXPECT_GT(in_columns, 0) << phase;
    for (const std::string& cell : column("one", "sent_" + phase + "_bytes")) {
      EXPECT_EQ(cell, "0") << phase;
    }
  }
}

TEST_F(TensorAxis, CapturingIsNoTrafficOfTheStep) {
  write("g.yaml", kReconstruct);
  run_captured("r", kDchag + tensor(2), 2);
  for (const char* name : {"sent_forward_bytes", "sent_backward_bytes", "sent_optimizer_bytes"}) {
    const auto sent = column("r", name);
    ASSERT_EQ(sent.size(), 20U);
    EXPECT_EQ(std::count(sent.begin(), sent.end(), sent.front()), 20) << name;
  }
}

// --- real files ----------------------------------------------------------------------------------

constexpr const char* kMaize = "hyperspectral/maize_kernel_b73_580band.h5";

TEST_F(TensorAxis, FiveHundredRealChannels) {
  TRIB_NEEDS_DATA(kMaize);
  write("g.yaml",
        "extends: " + std::string(TRIB_SOURCE_DIR) + "/graphs/hyperspectral_dchag.yaml\n");
  const Arguments few = set("vars.data=" + data_dir()) + set("train.steps=6") +
                        set("train.warmup_steps=0") + set("train.evaluate_every=3");
  run("g.yaml", "one", few);
  run("g.yaml", "four", few + tensor(4), 4);
  EXPECT_EQ(losses("one").size(), 6U);
  expect_equal_losses("four", "one");
  expect_equal_statistics("four", "one");
  EXPECT_EQ(json("four/statistics/scaled.json")["channels"].size(), 500U);
}

TEST_F(TensorAxis, RanksDecodeTheirChannelsAlone) {
  TRIB_NEEDS_DATA(kMaize);
  write("g.yaml", "nodes:\n  cubes: {type: read.cube, files: '" + data_file(kMaize) +
                      R"(', channels: 1..500, tile: 8}
  batches: {type: batch, from: cubes, size: 3}
  end:     {type: sink, from: batches}
)");
  const auto decoded = [&](const std::string& folder) {
    std::vector<std::int64_t> bytes;
    const auto summary = json(folder + "/summary.json");
    for (const auto& rank : summary["ranks_detail"]) {
      bytes.push_back(rank["decoded_bytes"].get<std::int64_t>());
    }
    return bytes;
  };
  run("g.yaml", "one");
  constexpr std::int64_t kAll = 500 * 24 * 40 * 4;  // whole tiles of 31 x 43 pixels, f32
  EXPECT_EQ(decoded("one"), (std::vector<std::int64_t>{kAll}));
  const ProgramResult four = mpirun(4, Arguments{"run", "g.yaml", "--run-dir", "four"} + tensor(4));
  EXPECT_EQ(four.exit_code, 0) << four.err;
  EXPECT_EQ(decoded("four"), (std::vector<std::int64_t>(4, kAll / 4)));
  EXPECT_EQ(json("four/summary.json")["decoded_bytes"], kAll);
  EXPECT_THAT(four.out + four.err,
              HasSubstr("reading: 1.9 MB decoded by all ranks, 480.0 kB to 480.0 kB a rank"));
  // Slices of uneven sizes add up too.
  run("g.yaml", "three", tensor(3), 3);
  const auto three = decoded("three");
  ASSERT_EQ(three.size(), 3U);
  EXPECT_EQ(three[0] + three[1] + three[2], kAll);
}

// --- what ranks refuse together ------------------------------------------------------------------

TEST_F(TensorAxis, RefusesWhatCannotBeDivided) {
  write("g.yaml", kReconstruct);
  struct Case {
    Arguments sets;
    std::string message;
  };
  const Case cases[] = {
      {tensor(14),
       "g.yaml:5:3: node 'batches': 13 channels cannot be divided over 14 tensor ranks; lower "
       "mesh.tensor"},
      {tensor(14) + kDchag + set("channels.partitions=14"),
       "g.yaml:5:3: node 'batches': 13 channels cannot be cut into 14 partitions for 14 tensor "
       "ranks; lower partitions, and mesh.tensor if it is more than 13"},
      {tensor(9) + kDchag,
       "g.yaml:5:3: node 'batches': 8 partitions of the channels are fewer than the 9 tensor "
       "ranks; lower mesh.tensor to 8 or raise partitions to 9"},
      {tensor(2) + kDchag + kReplicated,
       "g.yaml:7:3: node 'channels': aggregation: hierarchy: dchag needs channels: distributed"},
      {tensor(2) + kDchag + set("channels.tree=3"),
       "g.yaml:7:3: node 'channels': aggregation: tree 3 makes 3 groups of the 1 channels of a "
       "partition"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.message);
    const ProgramResult result = trib(Arguments{"validate", "g.yaml"} + one.sets);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr(one.message));
  }
  // A run says so once.
  const ProgramResult result =
      mpirun(2, Arguments{"run", "g.yaml"} + tensor(2) + kDchag + set("channels.partitions=1"));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("error: g.yaml:5:3: node 'batches': 1 partitions"));
  EXPECT_THAT(result.err, Not(ContainsRegex("rank 0: error:.*rank 1: error:")));
  EXPECT_FALSE(exists("runs"));
}

// --- ranks that would go different ways ----------------------------------------------------------

// The image is damaged in a channel of rank 1 alone, so that rank 0 does not skip it.
TEST_F(TensorAxis, DetectsDifferentSamples) {
  const Arguments damage = set("images.fail_at=61") + set("images.fail_channel=12") +
                           set("images.on_error=skip") + set("train.steps=200");
  write("g.yaml", kReconstruct);
  ProgramOptions options;
  options.timeout = 40;
  const ProgramResult result =
      mpirun(2, Arguments{"run", "g.yaml", "-q", "--run-dir", "r"} + tensor(2) + damage, options);
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err,
              ContainsRegex("rank [01]: error: node 'train' \\(batch [0-9]+\\): step [0-9]+: the "
                            "ranks of the tensor axis hold different samples"));
  // On one rank, or if all ranks read that channel, it is skipped everywhere alike.
  run("g.yaml", "one", damage + set("train.steps=30"));
  run("g.yaml", "both", damage + kReplicated + tensor(2) + set("train.steps=30"), 2);
  expect_equal_losses("both", "one");
}

constexpr const char* kApply = R"(seed: 5
nodes:
  images:   {type: read.synthetic, items: 100000, channels: 13, targets: 5, size: 16}
  batches:  {type: batch, from: images, size: 8}
  tokens:   {type: model.tokenize, from: batches, patch: 4, dim: 32}
  channels: {type: model.aggregate, from: tokens, heads: 8}
  encoder:  {type: model.encoder, from: channels, depth: 1, heads: 8}
  head:     {type: model.forecast_head, from: encoder, depth: 1}
  write:    {type: write.tensors, from: head, count: 3}
)";

// Each rank writes the variables that it predicts, and says which they are.
TEST_F(TensorAxis, WritesPredictionsInParts) {
  write("g.yaml", kApply);
  run("g.yaml", "one");
  run("g.yaml", "four", tensor(4), 4);
  for (const char* step : {"step-000000", "step-000002"}) {
    const io::SafetensorsFile one(path("one/tensors/write/" + std::string(step) + ".safetensors"));
    const std::vector<float> whole = values(one.read("prediction_bvhw"));
    const auto all = nlohmann::json::parse(one.metadata().at("variables"));
    ASSERT_EQ(all.size(), 5U);
    std::size_t variables = 0;
    for (int rank = 0; rank < 4; ++rank) {
      const std::string suffix = rank == 0 ? "" : ".rank" + std::to_string(rank);
      const io::SafetensorsFile part(
          path("four/tensors/write/" + std::string(step) + suffix + ".safetensors"));
      ASSERT_EQ(part.entries().size(), 1U);
      const auto own = nlohmann::json::parse(part.metadata().at("variables"));
      const Tensor prediction = part.read("prediction_bvhw");
      ASSERT_EQ(prediction.shape(), (Shape{8, static_cast<std::int64_t>(own.size()), 16, 16}));
      for (std::size_t v = 0; v < own.size(); ++v, ++variables) {
        EXPECT_EQ(own[v], all[variables]);
        for (std::size_t b = 0; b < 8; ++b) {
          for (std::size_t pixel = 0; pixel < 256; ++pixel) {
            ASSERT_NEAR(prediction.data<float>()[(b * own.size() + v) * 256 + pixel],
                        whole[(b * 5 + variables) * 256 + pixel], 1e-5);
          }
        }
      }
    }
    EXPECT_EQ(variables, 5U) << "each variable has one rank";
  }
  EXPECT_FALSE(exists("four/tensors/write/step-000003.safetensors"));
}

// The ends of the ranks have had enough at different moments: those of samples are ahead by as much
// as the threads like.
TEST_F(TensorAxis, AppliedModelsEndTogether) {
  write("g.yaml",
        std::string(kApply) + "  samples:  {type: write.tensors, from: images, count: 100}\n");
  for (int i = 0; i < 3; ++i) {
    ProgramOptions options;
    options.timeout = 30;
    const std::string folder = "r" + std::to_string(i);
    const ProgramResult result =
        mpirun(4, Arguments{"run", "g.yaml", "-q", "--run-dir", folder} + tensor(4), options);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_TRUE(exists(folder + "/tensors/write/step-000002.rank3.safetensors"));
    EXPECT_TRUE(exists(folder + "/summary.json"));
  }
}

}  // namespace
}  // namespace trib::test
