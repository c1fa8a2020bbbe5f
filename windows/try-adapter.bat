@echo off
rem Drop an adapter (NAME-lora.gguf) onto this file to talk to its model, or, where that has no form for conversations, to
rem have it go on with what you begin.
setlocal
chcp 65001 >nul
if exist "%~dp0lora.exe" goto whole
echo lora.exe is not beside this file. Unpack the whole zip (right-click it, Extract all), and drop your adapter onto the
echo try-adapter.bat in the folder that you then get.
goto end
:whole
if not "%~1"=="" goto given
echo No adapter. In the Explorer, drag the .gguf file that training made onto try-adapter.bat.
goto end
:given
rem Round a name without spaces the Explorer puts no quotes, whatever else is in it.
if exist "%~1" goto ask
echo There is no file "%~1". If its name holds one of the signs ^& ^^ , ; = rename it without.
goto end
:ask
set "model="
set /p "model=Which model was it trained on? Drag its .gguf file into this window, then press Enter: "
if not defined model goto end
set "model=%model:"=%"
if not defined model goto end
if exist "%model%" goto known
echo There is no file "%model%".
goto ask
:known
"%~dp0lora.exe" template -m "%model%" >nul 2>nul
if errorlevel 1 goto text
echo Type a message and press Enter; Ctrl-C ends it.
"%~dp0lora.exe" generate -m "%model%" --lora "%~1" --chat
goto end
:text
echo This model has no form for conversations: it goes on with a text that you begin.
:more
set "begin="
set /p "begin=How does the text begin? (Enter alone ends) "
if not defined begin goto end
set "begin=%begin:"='%"
"%~dp0lora.exe" generate -m "%model%" --lora "%~1" -n 200 -p "%begin%"
echo.
goto more
:end
echo.
pause
