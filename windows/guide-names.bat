@echo off
rem Copies of lora.exe under the names of the programs of 2023, so that a guide's command lines run as they stand.
setlocal
pushd "%~dp0"
if exist lora.exe goto whole
echo lora.exe is not beside this file. Unpack the whole zip (right-click it, Extract all), and start this file there.
goto end
:whole
for %%n in (finetune main perplexity quantize export-lora) do copy /y lora.exe %%n.exe >nul && echo %%n.exe
:end
popd
pause
