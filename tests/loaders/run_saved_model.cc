// Runs signatures of a SavedModel without Python: by the loader that TensorFlow
// Serving itself calls, in a process of its own.
//
//   run_saved_model [--repeat=N] [--inter_op_threads=N] [--intra_op_threads=N]
//       FOLDER SIGNATURE INPUTS OUTPUTS [SIGNATURE INPUTS OUTPUTS ...]
//
// INPUTS is a file of named tensors, which tensor_files.py describes; OUTPUTS
// becomes one. A line of stdout answers each request: "OK", with --repeat also
// the median milliseconds of N further calls; or a status and its message. A
// request that fails does not end the process, as it would not end a server.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/tstring.h"

namespace {

using tensorflow::Status;
using tensorflow::Tensor;
using NamedTensors = std::map<std::string, Tensor>;
namespace errors = tensorflow::errors;

constexpr int kWarmUpCalls = 5;

Status ReadString(std::istream& file, tensorflow::tstring* text) {
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), sizeof(length));
  if (!file) return errors::DataLoss("a string is cut off");
  text->resize_uninitialized(length);
  file.read(text->data(), length);
  if (!file) return errors::DataLoss("a string is cut off");
  return Status();
}

Status ReadTensors(const std::string& path, NamedTensors* tensors) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return errors::NotFound("cannot read ", path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name, type;
    words >> name >> type;
    tensorflow::DataType dtype;
    if (!tensorflow::DataTypeFromString(type, &dtype)) {
      return errors::DataLoss(path, ": unknown type ", type);
    }
    tensorflow::TensorShape shape;
    for (int64_t size; words >> size;) shape.AddDim(size);
    Tensor tensor(dtype, shape);
    if (dtype == tensorflow::DT_STRING) {
      auto texts = tensor.flat<tensorflow::tstring>();
      for (int64_t i = 0; i < texts.size(); ++i) {
        TF_RETURN_IF_ERROR(ReadString(file, &texts(i)));
      }
    } else {
      const auto bytes = tensor.tensor_data();
      file.read(const_cast<char*>(bytes.data()), bytes.size());
      if (!file) return errors::DataLoss(path, ": ", name, " is cut off");
    }
    tensors->emplace(name, std::move(tensor));
  }
  return Status();
}

Status WriteTensors(const std::string& path, const NamedTensors& tensors) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& [name, tensor] : tensors) {
    file << name << ' ' << tensorflow::DataTypeString(tensor.dtype());
    for (const int64_t size : tensor.shape().dim_sizes()) file << ' ' << size;
    file << '\n';
    if (tensor.dtype() == tensorflow::DT_STRING) {
      const auto texts = tensor.flat<tensorflow::tstring>();
      for (int64_t i = 0; i < texts.size(); ++i) {
        const uint64_t length = texts(i).size();
        file.write(reinterpret_cast<const char*>(&length), sizeof(length));
        file.write(texts(i).data(), length);
      }
    } else {
      const auto bytes = tensor.tensor_data();
      file.write(bytes.data(), bytes.size());
    }
  }
  file.close();
  if (!file) return errors::Unavailable("cannot write ", path);
  return Status();
}

// Runs a signature once, then `repeat` times more for `median_ms`.
Status RunSignature(const tensorflow::SavedModelBundle& bundle,
                    const std::string& name, const NamedTensors& inputs,
                    int repeat, NamedTensors* outputs, double* median_ms) {
  const auto found = bundle.GetSignatures().find(name);
  if (found == bundle.GetSignatures().end()) {
    return errors::NotFound("there is no signature ", name);
  }
  const tensorflow::SignatureDef& signature = found->second;
  std::vector<std::pair<std::string, Tensor>> feeds;
  for (const auto& [input, info] : signature.inputs()) {
    const auto given = inputs.find(input);
    if (given == inputs.end()) {
      return errors::InvalidArgument(name, " needs the input ", input);
    }
    feeds.emplace_back(info.name(), given->second);
  }
  if (feeds.size() != inputs.size()) {
    return errors::InvalidArgument(name, " has no inputs but ", feeds.size());
  }
  std::vector<std::string> output_names, fetches;
  for (const auto& [output, info] : signature.outputs()) {
    output_names.push_back(output);
    fetches.push_back(info.name());
  }
  std::vector<Tensor> fetched;
  const auto run = [&] {
    return bundle.session->Run(feeds, fetches, {}, &fetched);
  };
  TF_RETURN_IF_ERROR(run());
  for (size_t i = 0; i < fetched.size(); ++i) {
    outputs->emplace(output_names[i], fetched[i]);
  }
  std::vector<double> each_ms;
  for (int call = repeat > 0 ? -kWarmUpCalls : 0; call < repeat; ++call) {
    const auto start = std::chrono::steady_clock::now();
    TF_RETURN_IF_ERROR(run());
    const std::chrono::duration<double, std::milli> duration =
        std::chrono::steady_clock::now() - start;
    if (call >= 0) each_ms.push_back(duration.count());
  }
  if (repeat > 0) {
    std::sort(each_ms.begin(), each_ms.end());
    *median_ms = (each_ms[(repeat - 1) / 2] + each_ms[repeat / 2]) / 2.0;
  }
  return Status();
}

Status Answer(const tensorflow::SavedModelBundle& bundle,
              const std::string& name, const std::string& inputs_path,
              const std::string& outputs_path, int repeat, double* median_ms) {
  NamedTensors inputs, outputs;
  TF_RETURN_IF_ERROR(ReadTensors(inputs_path, &inputs));
  TF_RETURN_IF_ERROR(
      RunSignature(bundle, name, inputs, repeat, &outputs, median_ms));
  return WriteTensors(outputs_path, outputs);
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, int> numbers = {
      {"--repeat", 0}, {"--inter_op_threads", 0}, {"--intra_op_threads", 0}};
  std::vector<std::string> words;
  for (const std::string word : std::vector<std::string>(argv + 1, argv + argc)) {
    const size_t equals = word.find('=');
    const auto number = numbers.find(word.substr(0, equals));
    if (equals != std::string::npos && number != numbers.end()) {
      number->second = std::atoi(word.c_str() + equals + 1);
    } else {
      words.push_back(word);
    }
  }
  if (words.size() < 4 || words.size() % 3 != 1) {
    std::cerr << "usage: run_saved_model [--repeat=N] [--inter_op_threads=N]"
                 " [--intra_op_threads=N] FOLDER SIGNATURE INPUTS OUTPUTS ...\n";
    return 2;
  }
  tensorflow::SessionOptions options;
  options.config.set_inter_op_parallelism_threads(
      numbers["--inter_op_threads"]);
  options.config.set_intra_op_parallelism_threads(
      numbers["--intra_op_threads"]);
  tensorflow::SavedModelBundle bundle;
  // The tag's constant is in a header that the wheel does not have.
  const Status loaded = tensorflow::LoadSavedModel(
      options, tensorflow::RunOptions(), words[0], {"serve"}, &bundle);
  if (!loaded.ok()) {
    std::cerr << loaded.ToString() << '\n';
    return 1;
  }
  for (size_t i = 1; i < words.size(); i += 3) {
    double median_ms = 0.0;
    const Status status = Answer(bundle, words[i], words[i + 1], words[i + 2],
                                 numbers["--repeat"], &median_ms);
    std::string line = status.ToString();
    std::replace(line.begin(), line.end(), '\n', ' ');
    std::cout << line;
    if (status.ok() && numbers["--repeat"] > 0) std::cout << ' ' << median_ms;
    std::cout << std::endl;
  }
  return 0;
}
