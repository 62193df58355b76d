# Tests of the program through its command line. Python 3 alone runs cli_test; oracle_test also needs
# the packages numpy and gguf (PyPI) and is skipped where they are missing.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(name IN ITEMS cli_test oracle_test)
  add_test(NAME ${name}
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/${name}.py $<TARGET_FILE:qlinear>
                   ${CMAKE_CURRENT_LIST_DIR}/../golden)
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
endforeach()
