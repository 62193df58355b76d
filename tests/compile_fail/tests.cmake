# What must not compile. Every file holds a wrong line under QUANTLINEAR_MUST_NOT_COMPILE and the right
# one beside it: NAME_control compiles the right one, NAME must fail with an error that the expression
# describes, so that a missing header or a typing error cannot pass for a refusal.
set(compile_fail_cases
    "backend_of_no_kind:error.*no matching"
    "backend_without_flush:error.*constraint"
    "bytes_of_a_temporary:error.*deleted"
    "copy_of_a_buffer:error.*deleted"
    "copy_of_a_layer:error.*deleted"
    "ignored_status:error.*nodiscard"
    "output_to_constant_memory:error.*no matching")

foreach(case IN LISTS compile_fail_cases)
  string(REGEX MATCH "^([^:]+):(.+)$" _ "${case}")
  set(name compile_fail.${CMAKE_MATCH_1})
  set(expected "${CMAKE_MATCH_2}")
  set(compile ${CMAKE_CXX_COMPILER} -std=c++23 -fsyntax-only -Werror=unused-result -I${PROJECT_SOURCE_DIR}/include)
  set(source ${CMAKE_CURRENT_LIST_DIR}/${CMAKE_MATCH_1}.cpp)
  add_test(NAME ${name}_control COMMAND ${compile} ${source})
  add_test(NAME ${name} COMMAND ${compile} -DQUANTLINEAR_MUST_NOT_COMPILE ${source})
  set_tests_properties(${name} PROPERTIES PASS_REGULAR_EXPRESSION "${expected}")
  set_tests_properties(${name} ${name}_control PROPERTIES ENVIRONMENT LC_ALL=C LABELS compile_fail)
endforeach()
