// Trainings that go on from a checkpoint: bit for bit on the same mesh, to rounding on another, and
// past damage.

#include "tests/e2e/checkpoint_fixture.h"

namespace trib::test {
namespace {

class Resume : public CheckpointTest {
 protected:
  /// A finished run with checkpoints of steps 10 and 20, and perhaps more.
  void make_run(const std::string& folder) const {
    run_until_checkpoint(folder, 10, SIGTERM, set({"checkpoints.every=10", "train.steps=20"}));
    const ProgramResult result =
        trib(resume(folder) + set({"checkpoints.every=0", "train.steps=20"}));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto steps = checkpoint_steps(folder);
    ASSERT_TRUE(steps.size() >= 2 && steps[0] == 20) << testing::PrintToString(steps);
  }
  void flip_bit(const std::string& file, std::streamoff from_end) const {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    ASSERT_TRUE(stream) << file;
    stream.seekg(-from_end, std::ios::end);
    const char byte = static_cast<char>(stream.get());
    stream.seekp(-from_end, std::ios::end);
    stream.put(static_cast<char>(byte ^ 0x10));
  }
  /// An index that is sound, but says something else.
  void edit_index(const std::string& checkpoint,
                  const std::function<void(io::CheckpointIndex&)>& change) const {
    io::CheckpointIndex index = io::Checkpoint(checkpoint).index();
    change(index);
    std::ofstream(checkpoint + "/index.json") << index.to_json();
  }
  /// Path and content of all files below a folder.
  std::map<std::string, std::string> files(const std::string& folder) const {
    std::map<std::string, std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path(folder))) {
      if (entry.is_regular_file()) found[entry.path().string()] = read_text(entry.path().string());
    }
    return found;
  }
};

// Checkpoints hold float32: what products read of it is made anew.
TEST_F(Resume, InBfloat16AndAtTheOtherPrecision) {
  const Arguments bf16 = set({"precision=bf16"});
  run("g.yaml", "whole", bf16 + Arguments{"--log-samples"});
  for (const char* folder : {"cut", "other"}) {
    EXPECT_NE(run_until_checkpoint(folder, 20, SIGKILL, bf16).exit_code, 0);
  }
  run("g.yaml", "cut", bf16 + Arguments{"--log-samples", "--resume"});
  expect_same_training("cut", "whole", 40);
  run("g.yaml", "other", {"--resume"});
  const double rounded = std::stod(losses("whole").back());
  EXPECT_NE(losses("other").back(), losses("whole").back());
  EXPECT_NEAR(std::stod(losses("other").back()), rounded, 0.02 * rounded);
}

TEST_F(Resume, AfterAKillAllIsAsIfNothingHadHappened) {
  for (const int ranks : {1, 2}) {
    const std::string whole = "whole" + std::to_string(ranks), cut = "cut" + std::to_string(ranks);
    const Arguments mesh = set({"mesh.data=" + std::to_string(ranks)});
    run("g.yaml", whole, mesh + Arguments{"--log-samples"}, ranks);
    EXPECT_NE(run_until_checkpoint(cut, 20, SIGKILL, mesh, ranks).exit_code, 0);
    EXPECT_FALSE(exists(cut + "/summary.json"));
    run("g.yaml", cut, mesh + Arguments{"--log-samples", "--resume"}, ranks);
    expect_same_training(cut, whole, 40);
    expect_each_sample_once(cut, 40, 12);
    EXPECT_EQ(used_positions(cut), used_positions(whole));
    EXPECT_GE(json(cut + "/summary.json")["training"]["resumed_after"], 20);
    EXPECT_TRUE(exists(cut + "/attempts/1/graph.yaml"));
  }
}

TEST_F(Resume, SkippedImagesStaySkipped) {
  // On two ranks the bad image makes one rank go further in the stream than the other.
  const Arguments sets = set({"images.fail_at=7", "images.on_error=skip", "mesh.data=2"});
  run("g.yaml", "whole", sets + Arguments{"--log-samples"}, 2);
  run_until_checkpoint("cut", 20, SIGKILL, sets, 2);
  run("g.yaml", "cut", sets + Arguments{"--log-samples", "--resume"}, 2);
  expect_same_training("cut", "whole", 40);
  EXPECT_EQ(used_positions("cut"), used_positions("whole"));
}

TEST_F(Resume, AccumulatedAndShardedTrainingGoesOnToo) {
  const Arguments sets = set({"mesh.shard=2", "train.accumulate=3"});
  run("g.yaml", "whole", sets + Arguments{"--log-samples"}, 2);
  run_until_checkpoint("cut", 15, SIGKILL, sets, 2);
  run("g.yaml", "cut", sets + Arguments{"--log-samples", "--resume"}, 2);
  expect_same_training("cut", "whole", 40);
  expect_each_sample_once("cut", 40, 12);
}

TEST_F(Resume, MeshMayChangeEachTime) {
  run("g.yaml", "whole");
  const auto mesh = [](int data, int shard, int tensor) {
    return set({"mesh.data=" + std::to_string(data), "mesh.shard=" + std::to_string(shard),
                "mesh.tensor=" + std::to_string(tensor)});
  };
  run_until_checkpoint("r", 5, SIGKILL, mesh(2, 1, 1), 2);
  run_until_checkpoint("r", 15, SIGKILL, mesh(1, 1, 1), 1);
  run_until_checkpoint("r", 25, SIGKILL, mesh(1, 1, 3), 3);
  run_until_checkpoint("r", 30, SIGKILL, mesh(1, 3, 1), 3);
  run("g.yaml", "r", mesh(2, 1, 2) + Arguments{"--log-samples", "--resume"}, 4);
  expect_close_training("r", "whole", 40, 1e-5);
  expect_each_sample_once("r", 40, 12);
  const State found = state("r", 40), expected = state("whole", 40);
  for (const auto& [name, values] : expected) {
    // A bias of keys has no gradient but noise, which AdamW makes large.
    if (!name.ends_with("/value") || name.find("qkv.bias") != std::string::npos) continue;
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(found.at(name)[i], values[i], 1e-4) << name << " [" << i << "]";
    }
  }
}

TEST_F(Resume, DamagedCheckpointsArePassedOver) {
  ASSERT_NO_FATAL_FAILURE(make_run("r"));
  const auto newest = checkpoint_steps("r")[1];  // what is taken when step 20 is refused
  const std::string after = "training goes on after step " + std::to_string(newest);
  const std::string file = "step-20/rank-00000.safetensors";
  const struct {
    const char* what;
    std::function<void(const std::string&)> damage;
    const char* message;
  } cases[] = {
      {"a flipped bit", [&](const std::string& f) { flip_bit(f + file, 1001); },
       "rank-00000.safetensors: [a-z_.0-9]+ \\((value|exp_avg|exp_avg_sq)\\)"},
      {"a short file",
       [&](const std::string& f) {
         std::filesystem::resize_file(f + file, std::filesystem::file_size(f + file) - 1000);
       },
       "rank-00000.safetensors"},
      {"a file gone", [&](const std::string& f) { std::filesystem::remove(f + file); },
       "rank-00000.safetensors"},
      {"no index", [&](const std::string& f) { std::filesystem::remove(f + "step-20/index.json"); },
       "index.json"},
      {"another step",
       [&](const std::string& f) {
         edit_index(f + "step-20", [](io::CheckpointIndex& index) {
           index.training.replace(index.training.find("\"step\":20"), 9, "\"step\":21");
         });
       },
       "its training state is of step 21, expected 20"},
      {"no moments",
       [&](const std::string& f) {
         edit_index(f + "step-20", [](io::CheckpointIndex& index) {
           std::erase_if(index.pieces,
                         [](const auto& piece) { return piece.state != io::kValueState; });
         });
       },
       " has no exp_avg"},
      {"half an index",
       [&](const std::string& f) { std::filesystem::resize_file(f + "step-20/index.json", 5000); },
       "index.json"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    std::filesystem::remove_all(path("d"));
    std::filesystem::copy(
        path("r"), path("d"),
        std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
    c.damage(path("d/checkpoints/"));
    const ProgramResult result =
        trib({"run", "g.yaml", "--run-dir", "d", "--resume", "--set", "train.steps=20"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, ContainsRegex("warning: d/checkpoints/step-20 is damaged and passed "
                                          "over:[^w]*\n?.*" +
                                          std::string(c.message)));
    EXPECT_THAT(result.out + result.err, HasSubstr(after));
    expect_same_training("d", "r", 20);
    EXPECT_EQ(io::Checkpoint(checkpoint("d", 20)).verify(), std::vector<std::string>{});
    EXPECT_TRUE(exists("d/checkpoints/step-20.damaged"));
    EXPECT_EQ(std::filesystem::read_symlink(path("d/checkpoints/latest")), "step-20");
  }
}

TEST_F(Resume, NoneWholeIsAnError) {
  ASSERT_NO_FATAL_FAILURE(make_run("r"));
  for (const std::int64_t step : checkpoint_steps("r")) {
    flip_bit(checkpoint("r", step) + "/rank-00000.safetensors", 501);
  }
  const auto before = files("r");
  const ProgramResult result = trib(resume("r"));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, ContainsRegex("error: r: none of its [0-9] checkpoints is whole"));
  EXPECT_THAT(result.err, HasSubstr("r/checkpoints/step-20:\n"));
  EXPECT_THAT(result.err, HasSubstr("r/checkpoints/step-10:\n"));
  EXPECT_EQ(files("r"), before);
}

TEST_F(Resume, OtherModelsAndStreamsAreRefusedAndNothingIsTouched) {
  ASSERT_NO_FATAL_FAILURE(make_run("r"));
  const auto before = files("r");
  const struct {
    const char* change;
    const char* message;
  } cases[] = {
      {"tokens.dim=32", "step-20 is of another model than the graph's:\n  token_embeds"},
      {"encoder.depth=2", "blocks.1.norm1.weight: expected [16], not there"},
      {"images.channels=5", "is of another model than the graph's"},
      {"seed=4",
       "its seed is 3, the graph's 4; to start a new run from its weights, set "
       "weights.from to it"},
      {"images.items=119", "its samples are others, or in another order"},
      {"batches.shuffle=36", "batches.shuffle: 24 -> 36"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.change);
    for (const int ranks : {1, 2}) {
      const Arguments arguments =
          resume("r") + set({c.change, "mesh.data=" + std::to_string(ranks)});
      const ProgramResult result = ranks == 1 ? trib(arguments) : mpirun(ranks, arguments);
      EXPECT_EQ(result.exit_code, 2) << result.err;
      EXPECT_THAT(result.err, HasSubstr(c.message));
    }
  }
  EXPECT_EQ(files("r"), before);
}

TEST_F(Resume, LearningRateAndLengthMayChange) {
  ASSERT_NO_FATAL_FAILURE(make_run("r"));
  const ProgramResult result = trib(resume("r") + set({"train.steps=24", "train.lr=1e-4"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("train.lr: 2e-3 -> 1e-4"));
  EXPECT_EQ(losses("r").size(), 24U);
  EXPECT_LT(std::stod(column("r", "lr").back()), 1e-4);
}

TEST_F(Resume, NothingIsDoneIfAllStepsAre) {
  ASSERT_NO_FATAL_FAILURE(make_run("r"));
  const auto before = files("r");
  const ProgramResult result = trib(resume("r") + set({"train.steps=20"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("step-20: 20 of 20 steps are done"));
  EXPECT_EQ(files("r"), before);
}

TEST_F(Resume, StartsIfThereIsNothing) {
  const ProgramResult result = trib({"run", "g.yaml", "--resume", "--set", "train.steps=5"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("warning: no run of g below runs has a checkpoint: this one "
                                    "starts from the beginning"));
  EXPECT_EQ(losses("runs/g").size(), 5U);
  // In a folder of its own, and in that of an attempt that came to no checkpoint.
  EXPECT_EQ(trib(resume("r") + set({"train.steps=5"})).exit_code, 0);
  std::filesystem::remove_all(checkpoint("r", 5));
  std::filesystem::remove(path("r/summary.json"));
  EXPECT_EQ(trib(resume("r") + set({"train.steps=5"})).exit_code, 0);
  EXPECT_EQ(losses("r"), losses("runs/g"));
  expect_each_sample_once("r", 5, 12);
}

TEST_F(Resume, TakesTheLatestRunOfTheName) {
  const Arguments arguments{"run", "g.yaml", "-q", "--set", "train.steps=5"};
  for (int i = 0; i < 3; ++i) ASSERT_EQ(trib(arguments).exit_code, 0);
  std::filesystem::remove_all(path("runs/g-3/checkpoints"));
  const ProgramResult result = trib({"run", "g.yaml", "--resume", "-q", "--set", "train.steps=8"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(losses("runs/g").size(), 5U);
  EXPECT_EQ(losses("runs/g-2").size(), 8U);
  EXPECT_EQ(losses("runs/g-3").size(), 5U);
}

TEST_F(Resume, OtherFoldersAreLeftAlone) {
  std::filesystem::create_directories(path("mine"));
  write("mine/notes.txt", "important");
  const ProgramResult result = trib(resume("mine"));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("mine: neither empty nor the folder of a run"));
  EXPECT_EQ(files("mine").size(), 1U);
  write("forward.yaml", R"(nodes:
  images:  {type: read.synthetic, items: 8}
  end:     {type: sink, from: images}
)");
  EXPECT_EQ(trib({"run", "forward.yaml", "--resume"}).exit_code, 2);
}

}  // namespace
}  // namespace trib::test
