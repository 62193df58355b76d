# The exchange of files with the reference Python package `gguf` (PyPI), both ways; skipped where that
# package is missing.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_executable(gguf_exchange ${CMAKE_CURRENT_LIST_DIR}/gguf_exchange.cpp)
target_link_libraries(gguf_exchange PRIVATE quantlinear::quantlinear quantlinear_warnings)
add_test(NAME gguf_python_roundtrip
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/gguf_python_roundtrip.py
                 $<TARGET_FILE:gguf_exchange> ${CMAKE_CURRENT_LIST_DIR}/golden)
set_tests_properties(gguf_python_roundtrip PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
