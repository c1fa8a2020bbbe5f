// Its headers are precompiled for all tests (module.cmake).
int main() {}
