@echo off
rem Teaches the small bundled model to keep a whaler's log: a minute or two. Writes into the folder "demo" alone.
setlocal
chcp 65001 >nul
rem Not cd, which knows no folders of other computers.
pushd "%~dp0"
if exist lora.exe if exist demo\tiny-q8_0.gguf goto whole
echo lora.exe or the folder "demo" is not beside this file. Unpack the whole zip (right-click it, Extract all),
echo and start demo.bat from the folder that you then get.
goto end
:whole
lora.exe train demo\tiny-q8_0.gguf demo\train.txt -o demo\my-lora
if errorlevel 1 goto end
echo.
echo Asked for a page that it has never seen, the model writes with its new adapter:
echo.
lora.exe generate -m demo\tiny-q8_0.gguf --lora demo\my-lora.gguf -f demo\prompt.txt -n 64 --temp 0
:end
popd
echo.
pause
