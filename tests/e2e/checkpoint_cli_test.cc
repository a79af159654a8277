// `trib checkpoint ...`, and graphs that start from weights.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "io/checkpoint/checkpoint_writer.h"
#include "io/safetensors.h"
#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

/// kMaeGraph without its training: what the model makes of the first batch.
constexpr const char* kApply = R"(extends: g.yaml
nodes:
  train: null
  out:   {type: write.tensors, from: recon, count: 1}
)";

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

/// Add a block as timm.models.vision_transformer.Block(dim, heads, mlp_ratio=4, qkv_bias=True)
/// names its state.
void add_block(Shapes& shapes, const std::string& name, std::int64_t dim) {
  shapes.merge(Shapes{{name + ".norm1.weight", {dim}},
                      {name + ".norm1.bias", {dim}},
                      {name + ".attn.qkv.weight", {3 * dim, dim}},
                      {name + ".attn.qkv.bias", {3 * dim}},
                      {name + ".attn.proj.weight", {dim, dim}},
                      {name + ".attn.proj.bias", {dim}},
                      {name + ".norm2.weight", {dim}},
                      {name + ".norm2.bias", {dim}},
                      {name + ".mlp.fc1.weight", {4 * dim, dim}},
                      {name + ".mlp.fc1.bias", {4 * dim}},
                      {name + ".mlp.fc2.weight", {dim, 4 * dim}},
                      {name + ".mlp.fc2.bias", {dim}}});
}

/// All of kMaeGraph's model: names of MAE's MaskedAutoencoderViT and of ClimaX, without class
/// token.
Shapes mae_shapes() {
  Shapes shapes{{"token_embeds.proj_weights", {6, 16, 1, 4, 4}},
                {"token_embeds.proj_biases", {6, 16}},
                {"var_embed", {1, 6, 16}},
                {"var_query", {1, 1, 16}},
                {"var_agg.q.weight", {16, 16}},
                {"var_agg.kv.weight", {32, 16}},
                {"var_agg.proj.weight", {16, 16}},
                {"var_agg.proj.bias", {16}},
                {"pos_embed", {1, 16, 16}},
                {"norm.weight", {16}},
                {"norm.bias", {16}},
                {"decoder_embed.weight", {16, 16}},
                {"decoder_embed.bias", {16}},
                {"mask_token", {1, 1, 16}},
                {"decoder_pos_embed", {1, 16, 16}},
                {"decoder_norm.weight", {16}},
                {"decoder_norm.bias", {16}},
                {"decoder_pred.weight", {96, 16}},
                {"decoder_pred.bias", {96}}};
  add_block(shapes, "blocks.0", 16);
  add_block(shapes, "decoder_blocks.0", 16);
  return shapes;
}

class CheckpointCommands : public TribTest {
 protected:
  void SetUp() override {
    write("g.yaml", kMaeGraph);
    write("apply.yaml", kApply);
  }

  /// Train for ten steps and write the weights to trained.safetensors. Returns the loss of the
  /// evaluation after them, as printed.
  std::string train() const {
    run("g.yaml", "trained",
        {"--set", "train.steps=11", "--capture", "recon", "--capture-step", "11"});
    const io::SafetensorsFile capture(path("trained/capture/step-11.safetensors"));
    std::vector<io::NamedTensor> weights;
    const std::string prefix = "parameters.";
    for (const auto& entry : capture.entries()) {
      if (!entry.name.starts_with(prefix)) continue;
      weights.push_back({entry.name.substr(prefix.size()), capture.read(entry.name)});
    }
    io::write_safetensors(path("trained.safetensors"), weights);
    return evaluation("trained", "10");
  }
  /// The weights of train() as the checkpoint of a run, with moments.
  void write_checkpoint(const std::string& run_folder, std::int64_t step) const {
    const io::SafetensorsFile file(path("trained.safetensors"));
    const io::CheckpointWriter writer(path(run_folder + "/checkpoints"), step);
    std::map<std::string, io::CheckpointTensor> tensors;
    std::vector<io::NamedTensor> values = file.read_all();
    std::vector<io::PieceData> pieces;
    for (const auto& [name, tensor] : values) {
      tensors[name] = {.shape = tensor.shape()};
      for (const char* state : {io::kValueState, io::kExpAvgState, io::kExpAvgSqState}) {
        pieces.push_back({.tensor = name,
                          .state = state,
                          .elements = {0, tensor.numel()},
                          .data = tensor.data<float>()});
      }
    }
    writer.write_rank(0, pieces);
    writer.commit(1, tensors,
                  R"({"epoch": 2, "mesh": {"data": 1, "tensor": 1}, "graph": "a:\n  b: 1\n"})");
  }
  std::string evaluation(const std::string& run_folder, const std::string& step) const {
    const auto rows = table(run_folder + "/metrics.csv");
    const auto at = std::find(rows[0].begin(), rows[0].end(), "eval_loss") - rows[0].begin();
    for (const auto& row : rows) {
      if (row[0] == step) return row[static_cast<std::size_t>(at)];
    }
    return "no row of step " + step;
  }
  /// Path of the only file, or the first, of a folder.
  std::string first_file(const std::string& folder) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path(folder))) {
      names.push_back(folder + "/" + entry.path().filename().string());
    }
    return names.empty() ? "none" : *std::min_element(names.begin(), names.end());
  }
  static Arguments from(const std::string& weights) { return {"--set", "weights.from=" + weights}; }

  std::string succeed(const Arguments& arguments) const {
    const ProgramResult result = trib(Arguments{"checkpoint"} + arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  std::string fail(const Arguments& arguments, int exit_code) const {
    const ProgramResult result = trib(Arguments{"checkpoint"} + arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.out << result.err;
    return result.out + result.err;
  }
  void flip_last_byte(const std::string& name) const {
    std::string bytes = text(name);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    std::ofstream(path(name), std::ios::binary) << bytes;
  }
};

// ---- weights

TEST_F(CheckpointCommands, WeightsGoOutAndInAgainUnchanged) {
  const std::string loss = train();
  const Arguments one_step{"--set", "train.steps=1"};
  run("g.yaml", "fresh", one_step);
  EXPECT_NE(evaluation("fresh", "0"), loss);

  write_checkpoint("old", 10);
  succeed({"export", "old", "exported.safetensors"});
  EXPECT_EQ(succeed({"import", "exported.safetensors", "imported"}),
            "imported/step-0: 43 tensors of exported.safetensors, 11840 parameters\n");
  for (const char* weights : {"old", "exported.safetensors", "imported", "imported/step-0"}) {
    const std::string folder = "from_" + std::to_string(std::hash<std::string>{}(weights));
    run("g.yaml", folder, one_step + from(weights));
    EXPECT_EQ(evaluation(folder, "0"), loss) << weights;
    EXPECT_EQ(json(folder + "/weights.json")["loaded"].size(), 43U);
  }
}

TEST_F(CheckpointCommands, DividedAndShardedModelsTakeTheirParts) {
  const std::string loss = train();
  succeed({"import", "trained.safetensors", "imported"});
  const io::SafetensorsFile expected(path("trained.safetensors"));
  const Arguments divided{"--set", "mesh.tensor=2"};
  const Arguments sharded{"--set", "mesh.shard=2", "--set", "train.sharding=full"};
  int runs = 0;
  for (const Arguments& mesh : {divided, sharded}) {
    for (const char* weights : {"imported", "trained.safetensors"}) {
      SCOPED_TRACE(mesh[1] + " " + weights);
      const std::string folder = "two_" + std::to_string(runs++);
      run("g.yaml", folder,
          mesh + from(weights) + Arguments{"--set", "train.steps=1", "--capture", "recon"}, 2);
      EXPECT_NEAR(std::stod(evaluation(folder, "0")), std::stod(loss), 1e-5);
      const io::SafetensorsFile found(path(folder + "/capture/step-1.safetensors"));
      for (const auto& entry : expected.entries()) {
        const Tensor a = found.read("parameters." + entry.name), b = expected.read(entry.name);
        ASSERT_EQ(a.shape(), b.shape()) << entry.name;
        EXPECT_TRUE(std::equal(b.data<float>(), b.data<float>() + b.numel(), a.data<float>()))
            << entry.name;
      }
    }
  }
}

TEST_F(CheckpointCommands, GraphsWithoutTrainingApplyThem) {
  train();
  run("apply.yaml", "initial");
  run("apply.yaml", "applied", from("trained.safetensors"));
  run("g.yaml", "captured",
      Arguments{"--set", "train.steps=1", "--capture", "recon"} + from("trained.safetensors"));
  const auto prediction = [&](const std::string& file, const std::string& name) {
    const Tensor tensor = io::SafetensorsFile(path(file)).read(name);
    return std::vector<float>(tensor.data<float>(), tensor.data<float>() + tensor.numel());
  };
  const auto applied = prediction(first_file("applied/tensors/out"), "prediction");
  EXPECT_EQ(applied, prediction("captured/capture/step-1.safetensors", "recon.prediction"));
  EXPECT_NE(applied, prediction(first_file("initial/tensors/out"), "prediction"));
  EXPECT_TRUE(exists("applied/weights.json"));
  EXPECT_FALSE(exists("initial/weights.json"));
}

TEST_F(CheckpointCommands, StrictRefusesAndPartialReports) {
  train();
  const Arguments smaller = from("trained.safetensors") +
                            Arguments{"--set", "images.channels=5", "--set", "train.steps=1"};
  for (const char* command : {"run", "validate"}) {
    const ProgramResult refused = trib(Arguments{command, "g.yaml"} + smaller);
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err,
                HasSubstr("error: --set weights.from=trained.safetensors: weights.from: "
                          "trained.safetensors does not fit the model:\n"));
    EXPECT_THAT(refused.err, HasSubstr("  shape: token_embeds.proj_weights, expected "
                                       "[5, 16, 1, 4, 4], found [6, 16, 1, 4, 4]\n"));
    EXPECT_THAT(refused.err, HasSubstr("  shape: decoder_pred.bias, expected [80], found [96]\n"));
    EXPECT_THAT(refused.out, Not(HasSubstr("loaded")));
  }
  EXPECT_FALSE(exists("runs"));
  const ProgramResult result =
      trib(Arguments{"run", "g.yaml", "--run-dir", "partial", "--set", "weights.match=partial"} +
           smaller);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out + result.err,
              HasSubstr("weights of trained.safetensors: 38 loaded, 5 of another shape\n"));
  EXPECT_EQ(json("partial/weights.json")["mismatched"].size(), 5U);
}

TEST_F(CheckpointCommands, OtherImageSizesAndWhereItWasWritten) {
  train();
  write("larger.yaml",
        "extends: g.yaml\nweights: {from: trained.safetensors}\nnodes: {images: {size: 24}}\n");
  const ProgramResult result =
      trib({"run", "larger.yaml", "--run-dir", "larger", "--set", "train.steps=1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out + result.err, HasSubstr("resized: pos_embed from 4x4 to 6x6 positions\n"));
  const ProgramResult validated = trib({"validate", "larger.yaml"});
  EXPECT_THAT(validated.out, HasSubstr("resized: pos_embed from 4x4 to 6x6 positions\n"));
  EXPECT_EQ(json("larger/weights.json")["resized"][0]["to_grid"], nlohmann::json({6, 6}));
  std::filesystem::remove(path("trained.safetensors"));
  const ProgramResult missing = trib({"run", "larger.yaml"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_THAT(missing.err, HasSubstr("larger.yaml:2:17: weights.from: trained.safetensors: there "
                                     "is no such file"));
}

// ---- commands

TEST_F(CheckpointCommands, ExportsWhatOthersRead) {
  train();
  write_checkpoint("old", 10);
  EXPECT_EQ(succeed({"export", "old/checkpoints/latest", "values.safetensors"}),
            "values.safetensors: 43 tensors of old/checkpoints/latest, 11840 parameters\n");
  const ProgramResult read =
      run_program({"python3", std::string(TRIB_SOURCE_DIR) + "/tests/e2e/read_safetensors.py",
                   path("values.safetensors")});
  ASSERT_EQ(read.exit_code, 0) << read.err;
  const auto found = nlohmann::json::parse(read.out);
  EXPECT_EQ(found["metadata"]["format"], "pt");
  const Shapes expected = mae_shapes();
  EXPECT_EQ(found["tensors"].size(), expected.size());
  const io::SafetensorsFile trained(path("trained.safetensors"));
  for (const auto& [name, shape] : expected) {
    ASSERT_TRUE(found["tensors"].contains(name)) << name;
    EXPECT_EQ(found["tensors"][name]["shape"], nlohmann::json(shape)) << name;
    const Tensor values = trained.read(name);
    double sum = 0;
    for (std::int64_t i = 0; i < values.numel(); ++i) sum += double{values.data<float>()[i]};
    EXPECT_EQ(found["tensors"][name]["count"], values.numel()) << name;
    EXPECT_NEAR(found["tensors"][name]["sum"].get<double>(), sum, 1e-9) << name;
  }

  succeed({"export", "old", "all.safetensors", "--states", "all"});
  const io::SafetensorsFile all(path("all.safetensors"));
  EXPECT_EQ(all.entries().size(), 3 * expected.size());
  EXPECT_TRUE(all.contains("exp_avg/blocks.0.attn.qkv.weight"));
  EXPECT_TRUE(all.contains("exp_avg_sq/blocks.0.attn.qkv.weight"));

  const std::string before = text("values.safetensors");
  EXPECT_THAT(fail({"export", "old", "values.safetensors"}, 2),
              HasSubstr("values.safetensors: is there already; nothing is overwritten"));
  EXPECT_EQ(text("values.safetensors"), before);
  fail({"export", "nowhere", "x.safetensors"}, 3);
  fail({"export", "values.safetensors", "x.safetensors"}, 2);
  fail({"export", "old"}, 2);
  fail({"export", "old", "x.safetensors", "--states", "some"}, 2);
  flip_last_byte("old/checkpoints/step-10/rank-00000.safetensors");
  fail({"export", "old", "x.safetensors", "--states", "all"}, 3);
  EXPECT_FALSE(exists("x.safetensors"));
}

TEST_F(CheckpointCommands, ImportRenamesAndDropsNothing) {
  const auto tensor = [](std::initializer_list<std::int64_t> shape) {
    return Tensor::zeros(Shape(shape));
  };
  io::write_safetensors(
      path("in.safetensors"),
      {{"model.encoder.a", tensor({2, 3})}, {"model.b", tensor({4})}, {"c", tensor({})}});
  EXPECT_EQ(succeed({"import", "in.safetensors", "out", "--map", "model.encoder.=blocks.", "--map",
                     "model.="}),
            "out/step-0: 3 tensors of in.safetensors, 11 parameters\n");
  const auto inspected = nlohmann::json::parse(succeed({"inspect", "out", "--json"}));
  EXPECT_EQ(inspected["tensors"], nlohmann::json::parse(R"({
    "b": {"shape": [4], "dtype": "f32", "states": ["value"]},
    "blocks.a": {"shape": [2, 3], "dtype": "f32", "states": ["value"]},
    "c": {"shape": [], "dtype": "f32", "states": ["value"]}})"));
  EXPECT_EQ(inspected["step"], 0);
  EXPECT_EQ(inspected["training"], nlohmann::json::object());

  EXPECT_THAT(fail({"import", "in.safetensors", "out"}, 2),
              HasSubstr("out: is there already; nothing is overwritten"));
  EXPECT_THAT(fail({"import", "in.safetensors", "x", "--map", "modle.=b."}, 2),
              HasSubstr("--map modle.=b.: no name is left in in.safetensors that begins with"));
  EXPECT_THAT(fail({"import", "in.safetensors", "x", "--map", "model.b=c"}, 2),
              HasSubstr("'c' and 'model.b' would both be called 'c'"));
  EXPECT_THAT(fail({"import", "in.safetensors", "x", "--map", "c="}, 2),
              HasSubstr("--map leaves nothing of the name 'c'"));
  fail({"import", "in.safetensors", "x", "--map", "model"}, 2);
  EXPECT_THAT(fail({"import", "none.safetensors", "x"}, 3), HasSubstr("none.safetensors"));
  io::write_safetensors(path("half.safetensors"),
                        {{"a", tensor({2})}, {"b", Tensor::zeros({2}, DType::i64)}});
  EXPECT_THAT(fail({"import", "half.safetensors", "x"}, 3),
              HasSubstr("half.safetensors: tensor 'b' is i64, expected f32"));
  EXPECT_FALSE(exists("x"));
}

TEST_F(CheckpointCommands, InspectTellsWhatThereIs) {
  train();
  write_checkpoint("old", 10);
  const std::string told = succeed({"inspect", "old", "--tensors"});
  EXPECT_THAT(told, HasSubstr("old/checkpoints/step-10\n"
                              "  step: 10\n"
                              "  parameters: 11840 in 43 tensors\n"
                              "  states: exp_avg, exp_avg_sq, value\n"));
  EXPECT_THAT(told, HasSubstr(" in 2 files\n"
                              "training\n"
                              "  epoch: 2\n"
                              "  mesh:\n"
                              "    data: 1\n"
                              "    tensor: 1\n"
                              "  graph: (2 lines)\n"
                              "tensors\n"));
  EXPECT_THAT(told,
              ContainsRegex("\n  decoder_pred.bias +\\[96\\] +f32  value exp_avg_sq exp_avg\n"));
  EXPECT_THAT(succeed({"inspect", "old"}), Not(HasSubstr("decoder_pred.bias")));
  const auto json = nlohmann::json::parse(succeed({"inspect", "old", "--json"}));
  EXPECT_EQ(json["parameters"], 11840);
  EXPECT_EQ(json["training"]["graph"], "a:\n  b: 1\n");
  const auto folder = path("old/checkpoints/step-10/");
  EXPECT_EQ(json["bytes"], std::filesystem::file_size(folder + "index.json") +
                               std::filesystem::file_size(folder + "rank-00000.safetensors"));
  const std::string file = succeed({"inspect", "trained.safetensors"});
  EXPECT_THAT(file, HasSubstr("  parameters: 11840 in 43 tensors\n"));
  EXPECT_THAT(file, Not(HasSubstr("step")));
  EXPECT_THAT(fail({"inspect", "none"}, 3), HasSubstr("none: there is no such file or folder"));
  fail({"inspect"}, 2);
  fail({}, 2);
}

TEST_F(CheckpointCommands, VerifyFindsDamage) {
  train();
  write_checkpoint("old", 10);
  write_checkpoint("old", 20);
  EXPECT_EQ(succeed({"verify", "old"}),
            "old/checkpoints/step-20: 43 tensors in 1 file are intact\n"
            "old/checkpoints/step-10: 43 tensors in 1 file are intact\n");
  flip_last_byte("old/checkpoints/step-10/rank-00000.safetensors");
  EXPECT_EQ(succeed({"verify", "old/checkpoints/step-20"}),
            "old/checkpoints/step-20: 43 tensors in 1 file are intact\n");
  const std::string told = fail({"verify", "old"}, 3);
  EXPECT_THAT(told, HasSubstr("old/checkpoints/step-20: 43 tensors in 1 file are intact\n"));
  EXPECT_THAT(told, ContainsRegex("\nold/checkpoints/step-10/rank-00000.safetensors: "
                                  "[a-z_0-9.]+ \\([a-z_]+\\): checksum"));
  EXPECT_EQ(std::count(told.begin(), told.end(), '\n'), 2);
  std::filesystem::remove(path("old/checkpoints/step-20/rank-00000.safetensors"));
  EXPECT_THAT(fail({"verify", "old/checkpoints"}, 3),
              HasSubstr("old/checkpoints/step-20/rank-00000.safetensors: cannot be opened"));
  EXPECT_THAT(succeed({"verify", "trained.safetensors"}), HasSubstr("it has no checksums"));
  flip_last_byte("g.yaml");
  fail({"verify", "g.yaml"}, 3);
  fail({"verify", "none"}, 3);
}

}  // namespace
}  // namespace trib::test
