// Weights of an earlier training for a model: what fits, where it goes, what is said about the
// rest.

#include "pipeline/checkpoint/weights.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/checkpoint/checkpoint_writer.h"
#include "model/model.h"
#include "model/parallel/shard_layout.h"
#include "ops/base/error.h"
#include "tests/model/model_testing.h"
#include "tests/support/temp_dir.h"

namespace trib::pipeline {
namespace {

using model::ParameterId;
using model::Parameters;
using model::ParameterSpec;
using model::ParameterTable;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A masked autoencoder of five channels; patches of 4 x 4 pixels.
std::unique_ptr<model::Model> make_model(std::int64_t height, std::int64_t width,
                                         const model::Division& division = {},
                                         std::int64_t depth = 2) {
  auto made = std::make_unique<model::Model>(
      model::InputSpec{.channels = {"a", "b", "c", "d", "e"}, .height = height, .width = width},
      division);
  made->add_tokenizer({.patch = 4, .dim = 16});
  made->add_aggregation({.heads = 4});
  made->add_encoder({.depth = depth, .heads = 4, .mlp_ratio = 2});
  made->add_mae_head({.mask_ratio = 0.5, .dim = 8, .depth = 1, .heads = 2});
  return made;
}

std::vector<float> values_of(const Parameters& parameters, ParameterId id) {
  const float* first = parameters.value(id);
  return {first, first + parameters.table().spec(id).local().numel()};
}

/// All that a rank holds of a model that is not sharded.
std::vector<model::StatePiece> pieces_of(Parameters& parameters) {
  std::vector<model::StatePiece> pieces;
  for (ParameterId id = 0; id < std::ssize(parameters.table().specs()); ++id) {
    pieces.push_back({.id = id,
                      .elements = {0, parameters.table().spec(id).local().numel()},
                      .value = parameters.value(id)});
  }
  return pieces;
}

class WeightsTest : public testing::Test {
 protected:
  WeightsTest() { test::fill_parameters(source_); }

  /// The source's parameters, without those of `without`.
  std::vector<io::NamedTensor> named(const std::vector<std::string>& without = {}) const {
    std::vector<io::NamedTensor> tensors;
    for (ParameterId id = 0; id < std::ssize(source_.table().specs()); ++id) {
      const std::string& name = source_.table().spec(id).name;
      if (std::find(without.begin(), without.end(), name) != without.end()) continue;
      tensors.push_back({name, source_.value_tensor(id)});
    }
    return tensors;
  }
  std::string write_file(const std::vector<io::NamedTensor>& tensors,
                         const io::SafetensorsMetadata& metadata = {}) const {
    io::write_safetensors(folder_.file("w.safetensors"), tensors, metadata);
    return folder_.file("w.safetensors");
  }
  /// As a run of two ranks leaves it: the rows of each value divided.
  std::string write_checkpoint(std::int64_t step = 7) const {
    const io::CheckpointWriter writer(folder_.file("run/checkpoints"), step);
    std::map<std::string, io::CheckpointTensor> tensors;
    std::vector<std::vector<io::PieceData>> by_rank(2);
    for (ParameterId id = 0; id < std::ssize(source_.table().specs()); ++id) {
      const ParameterSpec& spec = source_.table().spec(id);
      const std::int64_t count = spec.shape.numel();
      tensors[spec.name] = {.shape = spec.shape, .grid_width = spec.grid_width};
      for (std::size_t rank = 0; rank < 2; ++rank) {
        const Range part = balanced_part(count, static_cast<std::int64_t>(rank), 2);
        io::PieceData piece;
        piece.tensor = spec.name;
        piece.state = io::kValueState;
        piece.elements = part;
        piece.data = source_.value(id) + part.begin;
        by_rank[rank].push_back(std::move(piece));
      }
    }
    for (int rank = 0; rank < 2; ++rank) {
      writer.write_rank(rank, by_rank[static_cast<std::size_t>(rank)]);
    }
    return writer.commit(2, tensors, "{}");
  }
  static ParameterValues section(const std::string& from, const std::string& match) {
    return parameters_from_text(weights_parameters(),
                                "{from: '" + from + "', match: " + match + "}");
  }
  Weights weights(const std::string& from, const ParameterTable& table,
                  const std::string& match = "strict") const {
    return {section(from, match), table};
  }
  template <class Thrown>
  std::string error_of(const std::string& from, const ParameterTable& table,
                       const std::string& match = "strict") const {
    try {
      weights(from, table, match);
    } catch (const Thrown& error) {
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }
  /// Whether the own parts of a model's parameters are those of the source.
  void expect_parts_of_source(const Parameters& found) const {
    for (ParameterId id = 0; id < std::ssize(found.table().specs()); ++id) {
      const ParameterSpec& spec = found.table().spec(id);
      const float* whole = source_.value(source_.table().find(spec.name));
      for_each_run(spec.shape, spec.split,
                   [&](std::int64_t local, std::int64_t global, std::int64_t count) {
                     for (std::int64_t i = 0; i < count; ++i) {
                       ASSERT_EQ(found.value(id)[local + i], whole[global + i])
                           << spec.name << " " << global + i;
                     }
                   });
    }
  }

  test::TempDir folder_;
  std::unique_ptr<model::Model> model_ = make_model(8, 12);
  Parameters source_{model_->table()};
};

TEST_F(WeightsTest, LoadsFilesCheckpointsAndRuns) {
  write_checkpoint();
  std::filesystem::create_directory_symlink("step-7", folder_.file("run/checkpoints/link"));
  const std::string file = write_file(named());
  for (const std::string& from :
       {file, folder_.file("run"), folder_.file("run/"), folder_.file("run/checkpoints"),
        folder_.file("run/checkpoints/step-7"), folder_.file("run/checkpoints/latest"),
        folder_.file("run/checkpoints/link")}) {
    SCOPED_TRACE(from);
    Parameters loaded(model_->table());
    const Weights found = weights(from, model_->table());
    EXPECT_TRUE(found.report().is_complete());
    EXPECT_EQ(found.report().loaded.size(), model_->table().specs().size());
    found.load(pieces_of(loaded));
    expect_parts_of_source(loaded);
  }
}

TEST_F(WeightsTest, TakesTheNewestCheckpointOfARun) {
  write_checkpoint(9);
  test::fill_normal(source_.flat_values(), "newer");
  write_checkpoint(10);
  const Weights found = weights(folder_.file("run"), model_->table());
  EXPECT_EQ(found.report().source, folder_.file("run/checkpoints/step-10"));
  Parameters loaded(model_->table());
  found.load(pieces_of(loaded));
  expect_parts_of_source(loaded);
}

TEST_F(WeightsTest, FillsThePartsOfDividedModels) {
  for (const std::string& from : {write_file(named()), write_checkpoint()}) {
    for (int ranks : {2, 3}) {
      for (int rank = 0; rank < ranks; ++rank) {
        SCOPED_TRACE(from + ", rank " + std::to_string(rank));
        const auto divided = make_model(8, 12, {.ranks = ranks, .rank = rank});
        ASSERT_LT(divided->table().flat_size(), model_->table().flat_size());
        Parameters loaded(divided->table());
        weights(from, divided->table()).load(pieces_of(loaded));
        expect_parts_of_source(loaded);
      }
    }
  }
}

TEST_F(WeightsTest, FillsShards) {
  for (const std::string& from : {write_file(named()), write_checkpoint()}) {
    Parameters joined(model_->table());
    for (int rank = 0; rank < 3; ++rank) {
      const model::ShardLayout layout(model_->table(), 3, rank);
      std::vector<float> shard(static_cast<std::size_t>(layout.own_size()));
      std::vector<model::StatePiece> pieces;
      for (const model::ShardPiece& piece : layout.pieces()) {
        pieces.push_back(
            {.id = piece.id, .elements = piece.elements, .value = shard.data() + piece.at});
      }
      weights(from, model_->table()).load(pieces);
      for (const model::StatePiece& piece : pieces) {
        std::copy_n(piece.value, piece.elements.size(),
                    joined.value(piece.id) + piece.elements.begin);
      }
    }
    expect_parts_of_source(joined);
  }
}

// ---- what does not fit

TEST_F(WeightsTest, StrictListsAllDifferences) {
  std::vector<io::NamedTensor> tensors = named({"mask_token", "norm.bias"});
  tensors.push_back({"head.weight", Tensor::zeros({3, 2})});
  for (io::NamedTensor& one : tensors) {
    if (one.name == "norm.weight") one.tensor = Tensor::zeros({17});
    if (one.name == "decoder_norm.weight") one.tensor = Tensor::zeros({8}, DType::f64);
  }
  const std::string from = write_file(tensors);
  EXPECT_EQ(error_of<ConfigError>(from, model_->table()),
            "parameters:1:8: weights.from: " + from +
                " does not fit the model:\n"
                "  missing: norm.bias, expected [16]\n"
                "  missing: mask_token, expected [1, 1, 8]\n"
                "  shape: norm.weight, expected [16], found [17]\n"
                "  shape: decoder_norm.weight, expected [8], found f64 [8]\n"
                "  unexpected: head.weight, found [3, 2]\n"
                "  (weights.match: partial loads what fits)");
}

TEST_F(WeightsTest, PartialLoadsWhatFitsAndKeepsTheRest) {
  std::vector<io::NamedTensor> tensors = named({"mask_token"});
  tensors.push_back({"head.weight", Tensor::zeros({3, 2})});
  for (io::NamedTensor& one : tensors) {
    if (one.name == "norm.weight") one.tensor = Tensor::zeros({17});
  }
  Parameters loaded(model_->table()), initial(model_->table());
  loaded.initialize(3);
  initial.initialize(3);
  const Weights found = weights(write_file(tensors), model_->table(), "partial");
  found.load(pieces_of(loaded));
  for (ParameterId id = 0; id < std::ssize(model_->table().specs()); ++id) {
    const std::string& name = model_->table().spec(id).name;
    const bool is_kept = name == "mask_token" || name == "norm.weight";
    EXPECT_EQ(values_of(loaded, id), values_of(is_kept ? initial : source_, id)) << name;
  }
  const auto json = nlohmann::json::parse(found.report().to_json());
  EXPECT_EQ(json["loaded"].size(), model_->table().specs().size() - 2);
  EXPECT_EQ(json["missing"], nlohmann::json::parse(R"([
    {"name": "mask_token", "expected": "[1, 1, 8]"}])"));
  EXPECT_EQ(json["mismatched"], nlohmann::json::parse(R"([
    {"name": "norm.weight", "expected": "[16]", "found": "[17]"}])"));
  EXPECT_EQ(json["unexpected"],
            nlohmann::json::parse(R"([{"name": "head.weight", "found": "[3, 2]"}])"));
  EXPECT_THAT(found.report().text(),
              HasSubstr(" loaded, 1 missing, 1 of another shape, 1 unexpected\n"));
}

TEST_F(WeightsTest, NamesThePlaceOfWhatCannotBeRead) {
  const auto message = [&](const std::string& from) {
    return error_of<DataError>(from, model_->table());
  };
  EXPECT_EQ(message(folder_.file("none")), "parameters:1:8: weights.from: " + folder_.file("none") +
                                               ": there is no such file or folder");
  EXPECT_THAT(message(folder_.file("none.safetensors")), HasSubstr(": there is no such file"));
  EXPECT_THAT(message(folder_.path()), HasSubstr(": is no checkpoint"));
  const std::string step = write_checkpoint();
  std::filesystem::remove(step + "/rank-00001.safetensors");
  EXPECT_THAT(message(folder_.file("run")), HasSubstr("rank-00001.safetensors"));
}

TEST_F(WeightsTest, RefusesAGraphWithoutModel) {
  GraphDefinition graph;
  graph.weights = parameters_from_text(weights_parameters(), "{}");
  EXPECT_FALSE(Weights::of(graph, nullptr).has_value());
  EXPECT_FALSE(Weights::of(graph, &model_->table()).has_value());
  graph.weights = section("x", "strict");
  EXPECT_THROW(Weights::of(graph, nullptr), ConfigError);
}

// ---- other image sizes

class OtherImageSize : public WeightsTest {
 protected:
  /// The source's position embedding resized, from its row `first` on.
  std::vector<float> resized(const Tensor& embed, std::int64_t first, model::PositionGrid from,
                             model::PositionGrid to) const {
    std::vector<float> values(static_cast<std::size_t>(to.positions() * 16));
    model::resize_position_embedding(values.data(), to, embed.data<float>() + first * 16, from, 16);
    return values;
  }
  Tensor source_embed() const { return source_.value_tensor(source_.table().find("pos_embed")); }
};

TEST_F(OtherImageSize, ResizesTheGridThatACheckpointKnows) {
  const auto larger = make_model(16, 16);  // 2 x 3 positions become 4 x 4
  const ParameterTable& table = larger->table();
  Parameters loaded(table), initial(table);
  loaded.initialize(3);
  initial.initialize(3);
  const Weights found = weights(write_checkpoint(), table);
  found.load(pieces_of(loaded));
  EXPECT_EQ(values_of(loaded, table.find("pos_embed")), resized(source_embed(), 0, {2, 3}, {4, 4}));
  // Not trained: the model's own, for its grid.
  const ParameterId decoder = table.find("decoder_pos_embed");
  EXPECT_EQ(values_of(loaded, decoder), values_of(initial, decoder));
  EXPECT_THAT(found.report().fixed, ElementsAre("decoder_pos_embed"));
  ASSERT_EQ(found.report().resized.size(), 1U);
  EXPECT_EQ(found.report().resized[0].from, (model::PositionGrid{2, 3}));
  EXPECT_EQ(found.report().resized[0].to, (model::PositionGrid{4, 4}));
  EXPECT_THAT(found.report().text(), HasSubstr("\n  resized: pos_embed from 2x3 to 4x4 positions"));
}

TEST_F(OtherImageSize, ResizesShards) {
  const auto larger = make_model(16, 16);
  const ParameterTable& table = larger->table();
  const Weights found = weights(write_checkpoint(), table);
  const ParameterId id = table.find("pos_embed");
  const std::vector<float> whole = resized(source_embed(), 0, {2, 3}, {4, 4});
  std::vector<float> part(100);
  found.load({{.id = id, .elements = {33, 133}, .value = part.data()}});
  EXPECT_EQ(part, std::vector<float>(whole.begin() + 33, whole.begin() + 133));
}

TEST_F(OtherImageSize, ResizesAnotherGridOfAsManyPositions) {
  const auto turned = make_model(12, 8);  // 2 x 3 positions become 3 x 2
  Parameters loaded(turned->table());
  const Weights found = weights(write_checkpoint(), turned->table());
  found.load(pieces_of(loaded));
  EXPECT_EQ(values_of(loaded, turned->table().find("pos_embed")),
            resized(source_embed(), 0, {2, 3}, {3, 2}));
}

TEST_F(OtherImageSize, TakesTheProportionsOfTheModelForAFile) {
  const auto larger = make_model(16, 24);
  Parameters loaded(larger->table());
  weights(write_file(named()), larger->table()).load(pieces_of(loaded));
  EXPECT_EQ(values_of(loaded, larger->table().find("pos_embed")),
            resized(source_embed(), 0, {2, 3}, {4, 6}));
  // 2 x 3 positions are no square.
  const auto square = make_model(16, 16);
  EXPECT_THAT(error_of<ConfigError>(write_file(named()), square->table()),
              HasSubstr("shape: pos_embed, expected [1, 16, 16], found [1, 6, 16]"));
  // The file may tell.
  const std::string told = write_file(named(), {{"grid_width.pos_embed", "3"}});
  EXPECT_EQ(weights(told, square->table()).report().resized[0].from, (model::PositionGrid{2, 3}));
  EXPECT_THAT(
      error_of<DataError>(write_file(named(), {{"grid_width.pos_embed", "3x"}}), square->table()),
      HasSubstr("metadata 'grid_width.pos_embed' is '3x'"));
}

TEST_F(OtherImageSize, DropsTheRowOfAClassToken) {
  // Of a square image, as in MAE: 3 x 3 positions and the class token's in front.
  const Tensor embed = test::normal_tensor({1, 10, 16}, "embed");
  std::vector<io::NamedTensor> tensors = named({"pos_embed", "decoder_pos_embed"});
  tensors.push_back({"pos_embed", embed});
  tensors.push_back({"decoder_pos_embed", Tensor::zeros({1, 10, 8})});
  const std::string without = write_file(tensors);
  EXPECT_THAT(error_of<ConfigError>(without, model_->table()), HasSubstr("shape: pos_embed"));
  tensors.push_back({"cls_token", Tensor::zeros({1, 1, 16})});
  const std::string from = write_file(tensors);
  EXPECT_THAT(error_of<ConfigError>(from, model_->table()), HasSubstr("unexpected: cls_token"));

  for (const auto& [height, width] : {std::pair{8, 12}, std::pair{12, 12}}) {
    const auto model = make_model(height, width);
    Parameters loaded(model->table());
    const Weights found = weights(from, model->table(), "partial");
    found.load(pieces_of(loaded));
    EXPECT_EQ(values_of(loaded, model->table().find("pos_embed")),
              resized(embed, 1, {3, 3}, {height / 4, width / 4}));
    ASSERT_EQ(found.report().resized.size(), 1U);
    EXPECT_TRUE(found.report().resized[0].drops_class_token);
    EXPECT_THAT(found.report().missing, IsEmpty());
  }
}

TEST_F(OtherImageSize, OtherWidthsDoNotFit) {
  std::vector<io::NamedTensor> tensors = named({"pos_embed"});
  tensors.push_back({"pos_embed", Tensor::zeros({1, 6, 32})});
  EXPECT_THAT(error_of<ConfigError>(write_file(tensors), model_->table()),
              HasSubstr("shape: pos_embed, expected [1, 6, 16], found [1, 6, 32]"));
}

}  // namespace
}  // namespace trib::pipeline
