#include "io/safetensors.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::io {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string temporary_path() {
  return testing::TempDir() + testing::UnitTest::GetInstance()->current_test_info()->name() +
         ".safetensors";
}

/// A file as the format's description wants it, made by hand.
std::string make_file(const std::string& header, const std::string& data) {
  const auto length = static_cast<std::uint64_t>(header.size());
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

std::string store(const std::string& bytes) {
  std::ofstream(temporary_path(), std::ios::binary) << bytes;
  return temporary_path();
}

std::string load(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The error of opening and reading a file, "" if it is sound.
std::string message(const std::string& bytes) {
  const std::string path = store(bytes);
  try {
    SafetensorsFile(path).read_all();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr(path));
    return error.what();
  }
  return "";
}

std::string message_of_header(const std::string& header) {
  return message(make_file(header, std::string(8, '\1')));
}

template <class T>
Tensor count_up(const Shape& shape, T first) {
  Tensor tensor = Tensor::empty(shape, DTypeOf<T>::value);
  std::iota(tensor.data<T>(), tensor.data<T>() + tensor.numel(), first);
  return tensor;
}

std::string_view bytes_of(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes()), tensor.nbytes()};
}

std::vector<NamedTensor> make_tensors() {
  return {{"mask", count_up<std::uint8_t>({3}, 7)},
          {"weight", count_up<float>({2, 3}, 0.5F)},
          {"step", count_up<std::int64_t>({}, 1234567890123)},
          {"empty", Tensor::empty({0, 4}, DType::f64)},
          {"naïve \"name\"", count_up<std::int16_t>({2, 2}, -2)}};
}

TEST(Safetensors, ComesBackAsWritten) {
  const std::vector<NamedTensor> written = make_tensors();
  write_safetensors(temporary_path(), written, {{"format", "pt"}, {"step", "12"}});
  const SafetensorsFile file(temporary_path());
  EXPECT_THAT(file.metadata(),
              ElementsAre(testing::Pair("format", "pt"), testing::Pair("step", "12")));
  const std::vector<NamedTensor> read = file.read_all();
  ASSERT_EQ(read.size(), written.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].name, written[i].name);
    EXPECT_EQ(read[i].tensor.dtype(), written[i].tensor.dtype());
    EXPECT_EQ(read[i].tensor.shape(), written[i].tensor.shape());
    EXPECT_EQ(bytes_of(read[i].tensor), bytes_of(written[i].tensor));
    const auto& entry = file.entry(read[i].name);
    EXPECT_EQ(entry.offset % static_cast<std::int64_t>(size_of(entry.dtype)), 0) << entry.name;
  }
}

TEST(Safetensors, WritesTheBytesOfTheFormat) {
  write_safetensors(temporary_path(), {{"a", count_up<std::uint8_t>({2}, 1)}});
  EXPECT_EQ(load(temporary_path()),
            make_file(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}   )", "\1\2"));
}

TEST(Safetensors, ReadsFilesOfOtherWriters) {
  const std::string header =
      R"( {"b": {"data_offsets": [2, 6], "dtype": "F32", "shape": [1, 1]}, "__metadata__": {"k": "v"},)"
      R"( "a": {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}} )";
  const float one = 1;
  std::string data = "\1\2xxxx";
  std::memcpy(data.data() + 2, &one, 4);
  const SafetensorsFile file(store(make_file(header, data)));
  EXPECT_THAT(file.entries(), SizeIs(2));
  EXPECT_EQ(file.metadata().at("k"), "v");
  EXPECT_EQ(file.read("b").data<float>()[0], 1);
  EXPECT_EQ(file.read("a").data<std::int8_t>()[1], 2);
  EXPECT_THAT(message(make_file("{}", "")), IsEmpty());
}

TEST(Safetensors, ReadsIntoMemoryOfTheSameKind) {
  write_safetensors(temporary_path(), make_tensors());
  const SafetensorsFile file(temporary_path());
  Tensor weight = Tensor::zeros({2, 3});
  file.read_into("weight", weight);
  EXPECT_EQ(weight.data<float>()[5], 5.5F);
  Tensor other = Tensor::zeros({3, 2});
  EXPECT_THROW(file.read_into("weight", other), DataError);
  Tensor strided = Tensor::zeros({3, 2}).permute({1, 0});
  EXPECT_THROW(file.read_into("weight", strided), ShapeError);
  EXPECT_FALSE(file.contains("bias"));
  EXPECT_THROW(file.read("bias"), DataError);
}

TEST(Safetensors, WritesStridedTensors) {
  const Tensor matrix = count_up<float>({2, 3}, 0);
  write_safetensors(temporary_path(), {{"t", matrix.permute({1, 0})}});
  const Tensor read = SafetensorsFile(temporary_path()).read("t");
  EXPECT_EQ(read.shape(), (Shape{3, 2}));
  EXPECT_EQ(read.data<float>()[1], 3);
}

TEST(Safetensors, ReplacesAFileWholeOrNotAtAll) {
  const std::string folder = testing::TempDir() + "safetensors_folder";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::string path = folder + "/x.safetensors";
  write_safetensors(path, {{"a", count_up<float>({4}, 0)}});
  const std::string before = load(path);
  const Tensor again = count_up<float>({1}, 0);
  EXPECT_THROW(write_safetensors(path, {{"a", again}, {"a", again}}), ConfigError);
  EXPECT_THROW(write_safetensors(path, {{"__metadata__", again}}), ConfigError);
  EXPECT_THROW(write_safetensors(path, {{"undefined", Tensor()}}), RuntimeError);
  EXPECT_EQ(load(path), before);
  write_safetensors(path, {{"b", again}});
  EXPECT_TRUE(SafetensorsFile(path).contains("b"));
  std::filesystem::create_directories(folder + "/taken/inside");
  EXPECT_THROW(write_safetensors(folder + "/taken", {{"a", again}}), RuntimeError);
  EXPECT_THROW(write_safetensors(folder + "/absent/x", {{"a", again}}), RuntimeError);
  const std::filesystem::directory_iterator left(folder);
  EXPECT_EQ(std::distance(begin(left), end(left)), 2) << "temporary files stay behind";
}

TEST(Safetensors, NamesEachDamage) {
  EXPECT_THROW(SafetensorsFile("/absent.safetensors"), DataError);
  EXPECT_THROW(SafetensorsFile(testing::TempDir()).read_all(), DataError);
  EXPECT_THAT(message("abc"), HasSubstr("too few"));
  EXPECT_THAT(message(std::string(8, '\xff') + "{}"), HasSubstr("does not fit"));
  EXPECT_THAT(message(make_file("{", "")), HasSubstr("not JSON"));
  EXPECT_THAT(message(make_file("[]", "")), HasSubstr("no JSON object"));
  EXPECT_THAT(message(make_file("{}", "x")), HasSubstr("take 0 bytes of data"));
  EXPECT_THAT(message_of_header(R"({"__metadata__":{"a":1}})"), HasSubstr("no string"));
  EXPECT_THAT(message_of_header(R"({"__metadata__":[]})"), HasSubstr("no object"));

  const auto with = [](const char* dtype, const char* shape, const char* offsets) {
    return message_of_header(std::string(R"({"x":{"dtype":)") + dtype + R"(,"shape":)" + shape +
                             R"(,"data_offsets":)" + offsets + "}}");
  };
  EXPECT_THAT(with(R"("F32")", "[2]", "[0,8]"), IsEmpty());
  EXPECT_THAT(with(R"("F31")", "[2]", "[0,8]"),
              AllOf(HasSubstr("tensor 'x'"), HasSubstr("\"F31\" is not supported")));
  EXPECT_THAT(with("1", "[2]", "[0,8]"), HasSubstr("dtype is not a string"));
  EXPECT_THAT(with(R"("F32")", "2", "[0,8]"), HasSubstr("shape is not a list"));
  EXPECT_THAT(with(R"("F32")", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), HasSubstr("at most 8"));
  EXPECT_THAT(with(R"("F32")", "[-2]", "[0,8]"), HasSubstr("lengths"));
  EXPECT_THAT(with(R"("F32")", "[2.0]", "[0,8]"), HasSubstr("lengths"));
  EXPECT_THAT(with(R"("F32")", "[4611686018427387904,4]", "[0,8]"), HasSubstr("larger than any"));
  EXPECT_THAT(with(R"("F32")", "[2]", "[0]"), HasSubstr("pair"));
  EXPECT_THAT(with(R"("F32")", "[2]", "[8,0]"), HasSubstr("8..0 leave"));
  EXPECT_THAT(with(R"("F32")", "[2]", "[8,16]"), HasSubstr("leave the 8 bytes"));
  EXPECT_THAT(with(R"("F32")", "[1]", "[0,8]"), HasSubstr("span 8 bytes, but F32 [1] takes 4"));
  EXPECT_THAT(with(R"("F32")", "[1]", "[0,4]"), HasSubstr("take 4 bytes of data"));
  EXPECT_THAT(with(R"("F32")", "[1]", "[4,8]"), HasSubstr("gap"));

  const std::string x = R"("x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const std::string y = R"("y":{"dtype":"U8","shape":[5],"data_offsets":[3,8]})";
  EXPECT_THAT(message_of_header("{" + x + "," + y + "}"), HasSubstr("one before it ends at 4"));
  EXPECT_THAT(message_of_header("{" + x + "," + x + "}"), HasSubstr("names 'x' twice"));
  EXPECT_THAT(message_of_header(R"({"x":{"dtype":"U8"}})"), HasSubstr("expected the keys"));
}

TEST(Safetensors, RejectsEveryTruncation) {
  write_safetensors(temporary_path(), make_tensors());
  const std::string whole = load(temporary_path());
  EXPECT_THAT(message(whole), IsEmpty());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(message(whole.substr(0, length)), "") << length;
  }
  EXPECT_NE(message(whole + "x"), "");
}

TEST(Safetensors, SurvivesRandomDamage) {
  write_safetensors(temporary_path(), make_tensors(), {{"format", "pt"}});
  const std::string whole = load(temporary_path());
  const std::size_t header_end = whole.rfind('}') + 1;
  int rejected = 0;
  for (unsigned seed = 0; seed < 2000; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t bound) { return random() % bound; };
    std::string damaged = whole;
    for (std::size_t n = below(4) + 1; n > 0; --n) {
      const std::size_t at = below(header_end);
      switch (below(4)) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged[at] = static_cast<char>(damaged[at] ^ (1 << below(8)));
          break;
        case 2:
          damaged.erase(at, below(5) + 1);
          break;
        default:
          damaged.insert(at, damaged.substr(below(header_end), below(30)));
          break;
      }
    }
    rejected += message(damaged) != "";
  }
  EXPECT_GT(rejected, 1800);  // some damage only renames a tensor
}

}  // namespace
}  // namespace trib::io
