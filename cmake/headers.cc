// Stands for the sources that its target's headers are precompiled for (module.cmake).
int main() {}
