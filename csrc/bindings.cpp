// The only pybind11 file: classes of csrc/metal as Python sees them. Long calls release the GIL; metal::Error becomes
// `_fastmetal.Error`, which Python turns into fastgo.errors.DeviceError.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <optional>

#include "device_notes.h"
#include "metal/device.h"
#include "metal/error.h"

namespace py = pybind11;
using fastgo::metal::Binding;
using fastgo::metal::Buffer;
using fastgo::metal::Capabilities;
using fastgo::metal::Constants;
using fastgo::metal::Device;
using fastgo::metal::Dispatch;
using fastgo::metal::Heap;
using fastgo::metal::Pipeline;
using fastgo::metal::Program;
using fastgo::metal::ReplayMode;
using fastgo::metal::Storage;
using fastgo::metal::Submission;

namespace {

py::dict field_to_dict(const fastgo::FieldReflection& field) {
  py::dict out;
  out["name"] = field.name;
  out["type"] = field.type;
  out["offset"] = field.offset;
  out["size"] = field.size;
  out["count"] = field.count;
  return out;
}

py::dict argument_to_dict(const fastgo::ArgumentReflection& argument) {
  py::list fields;
  for (std::uint32_t f = 0; f < argument.field_count; f++) fields.append(field_to_dict(argument.fields[f]));
  py::dict out;
  out["name"] = argument.name;
  out["type"] = argument.type;
  out["index"] = argument.index;
  out["is_buffer"] = argument.kind == fastgo::ArgumentKind::buffer;
  out["writes"] = argument.access == fastgo::Access::read_write;
  out["size"] = argument.pointee_size;
  out["fields"] = fields;
  return out;
}

// Reflection of one kernel as plain Python data.
py::dict kernel_to_dict(const std::string& name) {
  const auto entry = fastgo::metal::find_kernel(name);
  py::list arguments;
  for (std::uint32_t a = 0; a < entry.kernel->argument_count; a++) {
    arguments.append(argument_to_dict(entry.kernel->arguments[a]));
  }
  py::list constants;
  for (std::uint32_t c = 0; c < entry.kernel->constant_count; c++) constants.append(entry.kernel->constants[c].name);
  py::dict out;
  out["name"] = entry.kernel->name;
  out["file"] = entry.file->name;
  out["arguments"] = arguments;
  out["constants"] = constants;
  return out;
}

py::dict capabilities_to_dict(const Capabilities& capabilities) {
  py::dict out;
  out["name"] = capabilities.name;
  out["has_unified_memory"] = capabilities.has_unified_memory;
  out["memory_bytes"] = capabilities.recommended_working_set;
  out["max_buffer_bytes"] = capabilities.max_buffer_length;
  out["max_threadgroup_memory_bytes"] = capabilities.max_threadgroup_memory;
  return out;
}

py::list devices() {
  py::list out;
  for (const Capabilities& capabilities : fastgo::metal::list_devices()) out.append(capabilities_to_dict(capabilities));
  return out;
}

// Why kinds of devices are missing from devices().
py::list device_notes() {
  py::list out;
  for (const fastgo::DeviceNote& note : fastgo::device_notes()) {
    py::dict entry;
    entry["kind"] = note.kind;
    entry["text"] = note.text;
    entry["is_there"] = note.is_there;
    out.append(entry);
  }
  return out;
}

py::dict telemetry_of(const Device& device) {
  const fastgo::metal::Telemetry& telemetry = device.telemetry();
  py::dict out;
  out["pipeline_hits"] = telemetry.pipeline_hits.load();
  out["pipeline_misses"] = telemetry.pipeline_misses.load();
  out["buffer_bytes"] = telemetry.buffer_bytes.load();
  out["mapped_bytes"] = device.mapped_bytes();
  out["command_buffers"] = telemetry.command_buffers.load();
  out["dispatches"] = telemetry.dispatches.load();
  return out;
}

Storage to_storage(bool host_visible) { return host_visible ? Storage::shared : Storage::device; }

using BindingArgument = std::optional<std::pair<std::shared_ptr<Buffer>, std::size_t>>;
using Triple = std::array<std::size_t, 3>;

MTL::Size to_size(const Triple& t) { return MTL::Size::Make(t[0], t[1], t[2]); }

void add_dispatch(Program& program, const Pipeline& pipeline, const std::vector<BindingArgument>& bindings,
                  const std::string& arguments, const Triple& grid, const Triple& threads) {
  Dispatch dispatch{&pipeline, {}, arguments, to_size(grid), to_size(threads)};
  for (const BindingArgument& binding : bindings) {
    dispatch.bindings.push_back(binding ? Binding{binding->first, binding->second} : Binding{});
  }
  program.dispatch(std::move(dispatch));
}

// A write through a mapped weight file would only change this process's copy, but is always a mistake.
py::buffer_info buffer_info(const Buffer& buffer) {
  void* contents = buffer.contents();
  if (contents == nullptr) throw py::buffer_error("this buffer is not visible to the host");
  return {contents, 1, py::format_descriptor<std::uint8_t>::format(), static_cast<py::ssize_t>(buffer.size())};
}

void define_buffers(py::module_& module) {
  py::class_<Buffer, std::shared_ptr<Buffer>>(module, "Buffer", py::buffer_protocol())
      .def_property_readonly("nbytes", &Buffer::size)
      .def_buffer([](const Buffer& buffer) { return buffer_info(buffer); });
  py::class_<Heap, std::shared_ptr<Heap>>(module, "Heap")
      .def_property_readonly("nbytes", &Heap::size)
      .def("place", &Heap::place, py::arg("offset"), py::arg("nbytes"), py::arg("label"));
}

void define_programs(py::module_& module) {
  py::class_<Pipeline>(module, "Pipeline");
  py::class_<Program, std::shared_ptr<Program>>(module, "Program")
      .def("dispatch", &add_dispatch, py::arg("pipeline"), py::arg("bindings"), py::arg("arguments"), py::arg("grid"),
           py::arg("threads"))
      .def("barrier", &Program::barrier)
      .def("finish", &Program::finish)
      .def_property_readonly("dispatch_count", &Program::dispatch_count)
      .def_property_readonly("stage_count", &Program::stage_count);
  py::class_<Submission, std::shared_ptr<Submission>>(module, "Submission")
      .def("wait", &Submission::wait, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("device_seconds", &Submission::device_seconds);
}

void define_device(py::module_& module) {
  py::class_<Device>(module, "Device")
      .def(py::init<std::size_t>(), py::arg("index"), py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("info", [](const Device& d) { return capabilities_to_dict(d.capabilities()); })
      .def_property_readonly("telemetry", telemetry_of)
      .def_property_readonly("heap_alignment", &Device::heap_alignment)
      .def(
          "buffer",
          [](Device& device, std::size_t nbytes, const std::string& label, bool host_visible) {
            return device.allocate(nbytes, to_storage(host_visible), label);
          },
          py::arg("nbytes"), py::arg("label"), py::arg("host_visible") = true, py::call_guard<py::gil_scoped_release>())
      .def(
          "heap",
          [](Device& device, std::size_t nbytes, const std::string& label, bool host_visible) {
            return device.make_heap(nbytes, to_storage(host_visible), label);
          },
          py::arg("nbytes"), py::arg("label"), py::arg("host_visible") = false,
          py::call_guard<py::gil_scoped_release>())
      .def("map_file", &Device::map_file, py::arg("path"), py::call_guard<py::gil_scoped_release>())
      .def("pipeline", &Device::pipeline, py::arg("kernel"), py::arg("constants") = Constants(),
           py::return_value_policy::reference_internal, py::call_guard<py::gil_scoped_release>())
      .def(
          "program",
          [](Device& device, const std::string& label, bool indirect) {
            return device.make_program(indirect ? ReplayMode::indirect : ReplayMode::encoded, label);
          },
          py::arg("label"), py::arg("indirect") = true, py::keep_alive<0, 1>())
      .def("submit", &Device::submit, py::arg("programs"), py::call_guard<py::gil_scoped_release>())
      .def(
          "copy",
          [](Device& device, std::shared_ptr<Buffer> source, std::size_t source_offset, std::shared_ptr<Buffer> target,
             std::size_t target_offset, std::size_t nbytes) {
            return device.copy({std::move(source), source_offset}, {std::move(target), target_offset}, nbytes);
          },
          py::arg("source"), py::arg("source_offset"), py::arg("target"), py::arg("target_offset"), py::arg("nbytes"),
          py::call_guard<py::gil_scoped_release>())
      .def(
          "fill",
          [](Device& device, std::shared_ptr<Buffer> target, std::size_t offset, std::size_t nbytes,
             std::uint8_t value) { return device.fill({std::move(target), offset}, nbytes, value); },
          py::arg("target"), py::arg("offset"), py::arg("nbytes"), py::arg("value"),
          py::call_guard<py::gil_scoped_release>())
      .def("trim", &Device::trim);
}

}  // namespace

PYBIND11_MODULE(_fastmetal, module) {
  module.doc() = "The Metal half of fastgo: devices, buffers, pipelines, programs.";
  const auto error = py::register_exception<fastgo::metal::Error>(module, "Error");
  py::register_exception<fastgo::metal::OutOfMemory>(module, "OutOfMemory", error.ptr());
  module.def("devices", &devices);
  module.def("device_notes", &device_notes);
  module.def("kernel", &kernel_to_dict, py::arg("name"));
  define_buffers(module);
  define_programs(module);
  define_device(module);
}
