#include <gmock/gmock.h>

#include "io/safetensors.h"
#include "ops/base/error.h"
#include "tests/io/checkpoint_fixture.h"

namespace trib::io {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// The message of opening, "" if it is sound.
std::string message(const std::string& path) {
  try {
    const Checkpoint checkpoint(path);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

class DamagedCheckpoint : public testing::Test {
 protected:
  const std::string path_ = write_small(make_folder(), 7);
  const std::string index_ = path_ + "/index.json";
  const std::string file_ = path_ + "/rank-00001.safetensors";
};

TEST_F(DamagedCheckpoint, IsSoundBefore) {
  EXPECT_EQ(message(path_), "");
  EXPECT_THAT(Checkpoint(path_).verify(), IsEmpty());
}

TEST_F(DamagedCheckpoint, HasNoIndex) {
  std::filesystem::remove(index_);
  EXPECT_THAT(message(path_), HasSubstr(index_ + ": cannot be opened: No such file"));
  EXPECT_THAT(message(path_ + "-nowhere"), HasSubstr("cannot be opened: No such file"));
}

TEST_F(DamagedCheckpoint, HasATruncatedIndex) {
  const std::string text = load(index_);
  for (std::size_t size = 0; size + 2 < text.size(); size += 7) {
    store(index_, text.substr(0, size));
    EXPECT_THAT(message(path_), HasSubstr(index_ + ": is no JSON")) << size;
  }
}

TEST_F(DamagedCheckpoint, IsOfAnotherVersion) {
  edit(index_, "\"version\": 1", "\"version\": 2");
  EXPECT_THAT(message(path_), HasSubstr(index_ + ": version 2 is not known; known is 1"));
}

TEST_F(DamagedCheckpoint, LacksAFile) {
  std::filesystem::remove(file_);
  EXPECT_THAT(message(path_), HasSubstr(file_ + ": cannot be opened: No such file"));
}

TEST_F(DamagedCheckpoint, HasATruncatedFile) {
  const std::string bytes = load(file_);
  for (std::size_t size = 0; size < bytes.size(); size += 3) {
    store(file_, bytes.substr(0, size));
    EXPECT_THAT(message(path_), HasSubstr(file_ + ": ")) << size;
  }
  store(file_, bytes.substr(0, bytes.size() - 1));
  EXPECT_THAT(message(path_), HasSubstr("tensor 'value/"));
}

TEST_F(DamagedCheckpoint, HasAFileOfAnother) {
  write_safetensors(file_, {{"value/w", Tensor::zeros({12})}, {"value/c", Tensor::zeros({2})}});
  EXPECT_THAT(message(path_), HasSubstr(file_ + ": b (value): the file has no key 'value/b'"));
  write_safetensors(file_, {{"value/w", Tensor::zeros({3, 3})}, {"value/b", Tensor::zeros({2})}});
  EXPECT_THAT(message(path_),
              HasSubstr(file_ + ": w (value): the file holds f32 [3, 3], expected 12 elements"));
  write_safetensors(
      file_, {{"value/w", Tensor::zeros({12}, DType::i32)}, {"value/b", Tensor::zeros({2})}});
  EXPECT_THAT(message(path_), HasSubstr(file_ + ": w (value): the file holds i32 [12]"));
}

TEST_F(DamagedCheckpoint, HasAFlippedBit) {
  // Whichever bit of the data: 12 elements of "w" and 2 of "b", in that order.
  const std::string bytes = load(file_);
  for (std::size_t at = bytes.size() - 4 * 14; at < bytes.size(); ++at) {
    const bool in_b = at >= bytes.size() - 4 * 2;
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      store(file_, damaged);
      const Checkpoint checkpoint(path_);
      EXPECT_THAT(
          checkpoint.verify(),
          ElementsAre(AllOf(HasSubstr(file_ + (in_b ? ": b" : ": w") + " (value): checksum"),
                            HasSubstr(" expected, "), HasSubstr(" found"))));
      EXPECT_NO_THROW(checkpoint.read_whole(in_b ? "w" : "b", kValueState));
      try {
        checkpoint.read_whole(in_b ? "b" : "w", kValueState);
        ADD_FAILURE() << "byte " << at;
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), HasSubstr(file_ + (in_b ? ": b" : ": w") + " (value): checksum"));
      }
    }
  }
}

TEST_F(DamagedCheckpoint, HasAnEditedChecksum) {
  // XXH3 of the floats 2 and 3, as the library's own program has it.
  edit(index_, "b9044cbf5f732fb1", "0000000000000000");
  EXPECT_THAT(message(path_), HasSubstr(index_ + ": is damaged"));
}

TEST_F(DamagedCheckpoint, HasAnEditedTraining) {
  edit(index_, R"("epoch":3)", R"("epoch":2)");
  EXPECT_THAT(message(path_), HasSubstr(index_ + ": is damaged"));
}

TEST_F(DamagedCheckpoint, IsOfAnotherStepThanItsFolder) {
  const std::string other = std::filesystem::path(path_).replace_filename("step-8");
  std::filesystem::rename(path_, other);
  EXPECT_EQ(message(other), other + "/index.json: is of step 7, expected 8");
  std::filesystem::rename(other, path_ + ".damaged");
  EXPECT_EQ(message(path_ + ".damaged"), "");
}

TEST_F(DamagedCheckpoint, IsDamagedWhileOpen) {
  const Checkpoint checkpoint(path_);
  std::filesystem::resize_file(file_, 40);
  EXPECT_THAT(checkpoint.verify(), ElementsAre(HasSubstr(file_ + ": ")));
  EXPECT_THROW(checkpoint.read_whole("b", kValueState), DataError);
}

TEST_F(DamagedCheckpoint, HasAnIndexOfAnotherModel) {
  edit(index_, R"("shape":[6,4])", R"("shape":[6,5])");
  EXPECT_THAT(message(path_), HasSubstr(index_ + ": tensor 'w' (value): element "));
}

}  // namespace
}  // namespace trib::io
